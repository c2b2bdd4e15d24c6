"""Models of timm's in a folder or on the Hugging Face hub: their names, and files that are fetched from there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genrobust.classifiers.sources.clip_folder import CLIP_FILES, ClipFolder, find_clip_folder
from genrobust.core import download

HUB, FOLDER = "hf-hub:", "local-dir:"  # as timm writes them
TIMM_CONFIG = "config.json"  # of a folder that timm saved or the hub holds
CARD = "README.md"


def fetch_from_hub(spec: str, files: Sequence[str], contents: str) -> Path:
    """Fetch `files` of ``hf-hub:NAME`` or ``hf-hub:NAME@REVISION`` where it has them, and return their folder.

    What is in the cache of the hub is not fetched again. The model's card comes along, since it names the license.

    Raises:
        UserError: A name that cannot be one.
        GenrobustError: The model cannot be fetched; `contents` of a download can be given in its place.
    """
    remedy = f"give the folder of a download: its {contents}"
    return download(spec, spec.removeprefix(HUB), [*files, CARD], remedy)


def fetch_hub_clip(spec: str) -> ClipFolder | None:
    """Fetch the CLIP ``hf-hub:NAME``; None where that is another model.

    Raises:
        UserError: A model cannot have this name, or its config.json cannot be read.
        GenrobustError: The model cannot be fetched.
    """
    contents = "configuration, tokenizer and safetensors"
    clip = find_clip_folder(fetch_from_hub(spec, CLIP_FILES, contents))
    if clip is not None:
        fetch_from_hub(spec, (*CLIP_FILES, *clip.weights), contents)
    return clip
