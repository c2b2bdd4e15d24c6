"""Files of a CLIP on disk, in transformers' format or in open_clip's; without torch."""

from __future__ import annotations

from pathlib import Path

from genrobust.core import hash_folder, parse_json, reading

CONFIG, OPEN_CLIP = "config.json", "open_clip_config.json"
OPEN_CLIP_WEIGHTS = "open_clip_model.safetensors"
WEIGHTS = ("model.safetensors*", "model-*.safetensors")  # transformers', which may be in several files
CLIP_FILES = (
    CONFIG,
    OPEN_CLIP,
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)
KINDS = ("clip", "clip_vision_model")  # transformers' model_type: with a text tower, and without


def clip_files(folder: Path) -> tuple[str, ...]:
    """Return the files that say what the CLIP in `folder` is; none where it holds no CLIP.

    Where it is there in both formats, and has weights of open_clip's alone, it is open_clip's.

    Raises:
        UserError: config.json cannot be read.
    """
    config_file, is_open = folder / CONFIG, (folder / OPEN_CLIP).is_file()
    if config_file.is_file():
        with reading(config_file, ValueError):
            config = parse_json(config_file.read_bytes())
        is_transformers = isinstance(config, dict) and config.get("model_type") in KINDS
        has_weights = any(path for pattern in WEIGHTS for path in folder.glob(pattern))
        if is_transformers and (has_weights or not (is_open and (folder / OPEN_CLIP_WEIGHTS).is_file())):
            return CONFIG, "preprocessor_config.json"
    return (OPEN_CLIP,) if is_open else ()


def clip_weights(folder: Path) -> tuple[str, ...]:
    """Return patterns of the names of its weights, which are safetensors."""
    return (OPEN_CLIP_WEIGHTS,) if clip_files(folder) == (OPEN_CLIP,) else WEIGHTS


def hash_clip(folder: Path) -> str:
    """Return a hash of all that a CLIP is read from: a hub's folder may also hold what others fetched."""
    return hash_folder(folder, (*CLIP_FILES, *clip_weights(folder)))
