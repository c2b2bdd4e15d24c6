"""The description of a checkpoint in its folder, without the weights and without torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from genrobust.core import GenrobustError, NewerVersion, UserError, reading
from genrobust.store import MANIFEST, Artifact, Maker, Manifest, made_by

CHECKPOINT = "checkpoint"  # the kind of the artifact
WEIGHTS = "model.safetensors"
INITIAL = "initial.safetensors"  # the weights that a fine-tuned network started from


def _require_unique(classes: tuple[str, ...]) -> tuple[str, ...]:
    counts = Counter(classes)
    if len(counts) < len(classes):
        raise ValueError(f"the class {counts.most_common(1)[0][0]!r} is named twice")
    return classes


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """The description of a checkpoint: an `architecture` made with `model_kwargs`, for images of `image_size` pixels.

    Attributes:
        classes: The K classes in the order of the logits, by their names in the data.
        training: The settings, seed and history of its training. Loading does not need them.
        interpolation: How images are resized.
        descriptions: The name to show for each of `classes`.
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
    """Return whether `folder` holds a finished checkpoint."""
    return Artifact(folder).is_finished_as(CHECKPOINT)


def read_checkpoint_info(folder: Path) -> CheckpointInfo:
    """Return the description of the checkpoint in `folder`, without its weights."""
    artifact = Artifact(folder)
    if not artifact.is_finished:
        raise UserError(f"no finished checkpoint in {folder}: train it first")
    manifest = artifact.manifest()
    path = folder / MANIFEST
    if manifest.kind != CHECKPOINT:
        raise UserError(
            f"{folder} holds no checkpoint: the kind in its {MANIFEST} is {manifest.kind!r}; name the folder of one"
        )
    unknown = sorted(manifest.about.keys() - {field.name for field in fields(CheckpointInfo)})
    if unknown:
        raise NewerVersion(
            f"{path} has the key {unknown[0]!r}, which this version does not know: a newer version of genrobust wrote "
            "it; upgrade to that"
        )
    with reading(path, ValueError, TypeError, then=f": delete {folder} and train it again", kind=GenrobustError):
        return CheckpointInfo(**manifest.about)


def weights_hash(folder: Path) -> str:
    """Return the SHA-256 of the weights of the checkpoint in `folder`, by its manifest. Empty if it is not finished."""
    artifact = Artifact(folder)
    if artifact.is_finished:
        return artifact.manifest().files[WEIGHTS].sha256
    return ""


def saved_steps(folder: Path) -> int:
    """Return how many steps the unfinished training in `folder` has saved. 0 if there is nothing to resume from."""
    artifact = Artifact(folder)
    try:
        if not artifact.is_begun or artifact.is_finished:
            return 0
        manifest = artifact.manifest()
        if artifact.lacks(manifest.files):
            return 0
        return int(manifest.about.get("progress", {}).get("step", 0))
    except GenrobustError:
        # A damaged manifest is reported when training resumes.
        return 0
