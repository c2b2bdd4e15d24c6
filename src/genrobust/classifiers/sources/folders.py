"""Folders of pretrained networks, timm's or CLIPs, on disk or fetched from the Hugging Face hub. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from genrobust.core import download, hash_folder, parse_json, reading

HUB = "hf-hub:"  # as timm writes it
TIMM_CONFIG = CLIP_CONFIG = "config.json"
CLIP_FILES = (
    CLIP_CONFIG,
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "model.safetensors*",  # which may be in several files
    "model-*.safetensors",
)
CARD = "README.md"  # names the license


def fetch_from_hub(spec: str) -> Path:
    """Fetch the network ``hf-hub:NAME`` or ``hf-hub:NAME@REVISION``, and return its folder.

    What is in the cache of the hub is not fetched again.

    Raises:
        UserError: A name that cannot be one.
        GenrobustError: It cannot be fetched.
    """
    remedy = f"give the folder of a download: its {TIMM_CONFIG} and safetensors, and for a CLIP all of its .json files"
    return download(spec, spec.removeprefix(HUB), [*CLIP_FILES, CARD], remedy)


def is_clip(folder: Path) -> bool:
    """Return whether `folder` holds a CLIP that transformers' ``save_pretrained`` wrote.

    Raises:
        UserError: Its config.json cannot be read.
    """
    if not (path := folder / CLIP_CONFIG).is_file():
        return False
    with reading(path, ValueError):
        config = parse_json(path.read_bytes())
    return isinstance(config, dict) and config.get("model_type") == "clip"


def hash_clip(folder: Path) -> str:
    """Return a hash of all that the CLIP in `folder` is read from: a hub's folder may also hold what others fetched."""
    return hash_folder(folder, CLIP_FILES)
