"""The files of a generator in the diffusers format that are loaded, and their hash: a folder may hold others."""

from __future__ import annotations

import json
import re
from pathlib import Path

from genrobust.core import MANIFEST, hash_files

INDEX = "model_index.json"
CONFIGURATIONS = {".json", ".txt", ".model"}  # the last are vocabularies of SentencePiece, as of T5
_SHARD = re.compile(r"-\d{5}-of-\d{5}")  # in the names of weights in several files


def part_files(part: Path, variant: str | None) -> list[Path]:
    """Return the files that are loaded of a part of a generator, its folder: weights of one variant, configurations.

    A part without weights of the variant is loaded from its plain ones. Pickles and lists of weights in several files
    are left out.
    """
    weights = [path for path in part.iterdir() if path.suffix == ".safetensors"]
    chosen = [path for path in weights if _variant(path) == (variant or "")]
    more = [path for path in part.iterdir() if path.suffix in CONFIGURATIONS and ".index." not in path.name]
    return [*sorted(chosen or [path for path in weights if not _variant(path)]), *sorted(more)]


def hash_generator(folder: Path, variant: str | None = None) -> str:
    """SHA-256, in hex, of what is loaded of the generator in `folder`: weights of `variant`, all configurations.

    A process reads files that do not change only once.
    """
    configurations = [path for path in folder.iterdir() if path.suffix in CONFIGURATIONS and path.is_file()]
    configurations = [path for path in configurations if path.name != MANIFEST]
    return hash_files(
        folder, [*configurations, *(path for part in part_folders(folder) for path in part_files(part, variant))]
    )


def part_folders(folder: Path) -> list[Path]:
    """Return the folders of the parts that the index of the generator in `folder` names."""
    index = json.loads((folder / INDEX).read_bytes())
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name in index)


def _variant(path: Path) -> str:
    """The variant that the name of a file of weights says, "" for none: ``model.fp16.safetensors``."""
    return _SHARD.sub("", path.stem).partition(".")[2]
