"""What a checkpoint's folder says of it, without its weights and without torch."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass  # which checks what a stranger wrote

from genrobust.core import GenrobustError, UserError, fetch, reading

WEIGHTS, INFO = "model.safetensors", "checkpoint.json"
STATE = "state.safetensors"


def _unique(classes: tuple[str, ...]) -> tuple[str, ...]:
    if len(found := Counter(classes)) < len(classes):
        raise ValueError(f"the class {found.most_common(1)[0][0]!r} is named twice")
    return classes


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """What a checkpoint is: an `architecture` made with `model_kwargs`, for images of `image_size` pixels.

    `classes` are the K class ids in the order of the logits.

    `training` says how it came about (settings, seed, history); nothing here needs it to load.
    """

    architecture: Annotated[str, Field(max_length=200)]
    model_kwargs: dict[str, Any]
    classes: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_unique)]
    image_size: Annotated[int, Field(ge=1, le=8192, strict=True)]  # far above what any classifier sees
    training: dict[str, Any]


def is_checkpoint(folder: Path) -> bool:
    """Whether `folder` holds a finished checkpoint: the JSON is written last."""
    return (folder / INFO).is_file()


def fetch_checkpoint(folder: Path) -> bool:
    """Fetch the checkpoint in `folder`, where that mirrors a remote, and return whether it is finished."""
    fetch(folder, WEIGHTS, INFO)
    return is_checkpoint(folder)


def read_checkpoint_info(folder: Path) -> CheckpointInfo:
    """What the checkpoint in `folder` is, without its weights.

    Raises UserError where there is none (training writes the JSON last, so an unfinished run has none).
    """
    path = folder / INFO
    with reading(path, ValueError, KeyError, TypeError, then=f"; delete {folder} and train again", kind=GenrobustError):
        if not is_checkpoint(folder):
            raise UserError(f"no finished checkpoint in {folder}: {INFO} is missing; train it first")
        raw = json.loads(path.read_text(encoding="utf-8"))
        return CheckpointInfo(**{**raw, "classes": tuple(raw["classes"])})
