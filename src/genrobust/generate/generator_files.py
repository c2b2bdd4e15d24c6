"""The files of a generator in the diffusers format that are loaded, and their hash. A folder may hold other files."""

from __future__ import annotations

import json
import re
from pathlib import Path

from genrobust.store import MANIFEST, hash_files

INDEX = "model_index.json"
# Suffixes of configurations; .model is a vocabulary of SentencePiece, as of T5.
CONFIGURATIONS = {".json", ".txt", ".model"}
# In the names of weights that are split into several files.
_SHARD = re.compile(r"-\d{5}-of-\d{5}")


def part_files(part: Path, variant: str | None) -> list[Path]:
    """Return the files that are loaded from the folder `part`: weights of one variant, and configurations.

    A part without weights of the variant is loaded from its plain weights. Pickles, and lists of split weights, are
    left out.
    """
    weights: list[Path] = []
    plain_weights: list[Path] = []
    configurations: list[Path] = []
    for path in sorted(part.iterdir()):
        if path.suffix == ".safetensors":
            if _variant(path) == (variant or ""):
                weights.append(path)
            if not _variant(path):
                plain_weights.append(path)
        elif path.suffix in CONFIGURATIONS and ".index." not in path.name:
            configurations.append(path)
    return [*(weights or plain_weights), *configurations]


def hash_generator(folder: Path, variant: str | None = None) -> str:
    """Hash everything that is loaded from `folder`, SHA-256 in hex: weights of `variant`, and all configurations.

    A process reads files that do not change only once.
    """
    files = []
    for path in folder.iterdir():
        if path.suffix in CONFIGURATIONS and path.is_file() and path.name != MANIFEST:
            files.append(path)
    for part in part_folders(folder):
        files += part_files(part, variant)
    return hash_files(folder, files)


def part_folders(folder: Path) -> list[Path]:
    """Return the folders of the parts that the index of the generator in `folder` names."""
    index = json.loads((folder / INDEX).read_bytes())
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name in index)


def _variant(path: Path) -> str:
    """Return the variant in the name of a file of weights ("" for none): ``model.fp16.safetensors``."""
    return _SHARD.sub("", path.stem).partition(".")[2]
