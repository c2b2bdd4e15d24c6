"""The description of a checkpoint in its folder, without the weights and without torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass  # which checks what a stranger wrote

from genrobust.core import (
    MANIFEST,
    Artifact,
    GenrobustError,
    Maker,
    Manifest,
    NewerVersion,
    UserError,
    made_by,
    reading,
)

CHECKPOINT = "checkpoint"  # the kind of the artifact
WEIGHTS = "model.safetensors"
INITIAL = "initial.safetensors"  # the weights that a fine-tuned network started from


def _require_unique(classes: tuple[str, ...]) -> tuple[str, ...]:
    if len(counts := Counter(classes)) < len(classes):
        raise ValueError(f"the class {counts.most_common(1)[0][0]!r} is named twice")
    return classes


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """The description of a checkpoint: an `architecture` made with `model_kwargs`, for images of `image_size` pixels.

    Attributes:
        classes: The K classes in the order of the logits, by the names that they have in the data.
        training: The settings, seed and history of its training, which loading does not need.
        interpolation: How images are resized.
        descriptions: The names to show, by those of `classes`.
    """

    architecture: Annotated[str, Field(max_length=200)]
    model_kwargs: dict[str, Any]
    classes: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_require_unique)]
    image_size: Annotated[int, Field(ge=1, le=8192, strict=True)]  # far above what any classifier sees
    training: dict[str, Any]
    interpolation: Annotated[str, Field(pattern="^(bicubic|bilinear)$")] = "bicubic"
    descriptions: dict[str, str] = field(default_factory=dict)


def checkpoint_manifest(inputs: Mapping[str, Any], *makers: Maker) -> Manifest:
    """Return the manifest of a checkpoint that `makers` make from `inputs`, without its description."""
    return Manifest(CHECKPOINT, inputs, made_by=made_by(*makers))


def is_checkpoint(folder: Path) -> bool:
    """Return whether `folder` holds a finished checkpoint.

    Raises:
        GenrobustError: Its manifest is damaged.
    """
    return Artifact(folder).is_finished_as(CHECKPOINT)


def read_checkpoint_info(folder: Path) -> CheckpointInfo:
    """Return the description of the checkpoint in `folder`, without its weights.

    Raises:
        UserError: There is no finished checkpoint, or the folder holds something else, or one of a newer version.
        GenrobustError: Its manifest is damaged.
    """
    artifact = Artifact(folder)
    if not artifact.is_finished:
        raise UserError(f"no finished checkpoint in {folder}: train it first")
    manifest, path = artifact.manifest(), folder / MANIFEST
    if manifest.kind != CHECKPOINT:
        raise UserError(f"{path} is not that of a checkpoint: its kind is {manifest.kind!r}; name the folder of one")
    if unknown := sorted(manifest.about.keys() - {field.name for field in fields(CheckpointInfo)}):
        what = f"has the key {unknown[0]!r}, which this version does not know"
        raise NewerVersion(f"{path} {what}: a newer version of genrobust wrote it; upgrade to that")
    with reading(path, ValueError, TypeError, then=f": delete {folder} and train it again", kind=GenrobustError):
        return CheckpointInfo(**manifest.about)


def weights_hash(folder: Path) -> str:
    """Return the SHA-256 of the weights of the checkpoint in `folder`, by its manifest; "" where it is not finished."""
    artifact = Artifact(folder)
    return artifact.manifest().files[WEIGHTS].sha256 if artifact.is_finished else ""


def saved_steps(folder: Path) -> int:
    """Return how many steps the unfinished training in `folder` has saved; 0 where there are none to resume from."""
    artifact = Artifact(folder)
    try:
        if not artifact.is_begun or artifact.is_finished:
            return 0
        manifest = artifact.manifest()
        return 0 if artifact.lacks(manifest.files) else int(manifest.about.get("progress", {}).get("step", 0))
    except GenrobustError:  # a damaged manifest is reported when training resumes
        return 0
