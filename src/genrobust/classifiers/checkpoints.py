"""The description of a checkpoint in its folder, without the weights and without torch."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass  # which checks what a stranger wrote
from safetensors import SafetensorError, safe_open

from genrobust.core import (
    SEAL,
    GenrobustError,
    UserError,
    check_hash,
    check_seal,
    fetch,
    find_seal,
    reading,
    replacing,
    unsealed,
    write_seal,
)

WEIGHTS, INFO = "model.safetensors", "checkpoint.json"
INITIAL = "initial.safetensors"  # the weights that a fine-tuned network started from
STATE, FEATURES = UNDER_WAY = "state.safetensors", "features.safetensors"  # what a killed training goes on from
LARGEST_HEADER = 100_000_000  # bytes, of a safetensors file, as its readers have it
_BEFORE_SEAL = f'"{SEAL}":"'.encode()


def _unique(classes: tuple[str, ...]) -> tuple[str, ...]:
    if len(found := Counter(classes)) < len(classes):
        raise ValueError(f"the class {found.most_common(1)[0][0]!r} is named twice")
    return classes


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class CheckpointInfo:
    """The description of a checkpoint: an `architecture` made with `model_kwargs`, for images of `image_size` pixels.

    `classes` are the K class ids in the order of the logits.

    `training` says how it came about (settings, seed, history); nothing here needs it to load. `weights_sha256` is that
    of the file of weights, "" before it is saved. `initial_sha256` is that of the weights which fine-tuning started
    from, "" where they are not kept. Images are resized by the `interpolation`.
    """

    architecture: Annotated[str, Field(max_length=200)]
    model_kwargs: dict[str, Any]
    classes: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_unique)]
    image_size: Annotated[int, Field(ge=1, le=8192, strict=True)]  # far above what any classifier sees
    training: dict[str, Any]
    weights_sha256: str = ""
    initial_sha256: str = ""
    interpolation: Annotated[str, Field(pattern="^(bicubic|bilinear)$")] = "bicubic"


def is_checkpoint(folder: Path) -> bool:
    """Whether `folder` holds a finished checkpoint: the JSON is written last."""
    return (folder / INFO).is_file()


def fetch_checkpoint(folder: Path) -> bool:
    """Fetch the checkpoint in `folder`, where that mirrors a remote, and return whether it is finished."""
    fetch(folder, WEIGHTS, INFO)
    return is_checkpoint(folder)


def read_checkpoint_info(folder: Path) -> CheckpointInfo:
    """Return the description of the checkpoint in `folder`, without its weights.

    Raises:
        UserError: There is no finished checkpoint; training writes the JSON last, so an unfinished run has none.
        GenrobustError: The JSON is damaged.
    """
    path = folder / INFO
    with reading(path, ValueError, KeyError, TypeError, then=_remedy(folder), kind=GenrobustError):
        if not is_checkpoint(folder):
            raise UserError(f"no finished checkpoint in {folder}: {INFO} is missing; train it first")
        raw = unsealed(path.read_bytes())
        return CheckpointInfo(**raw)


def check_weights(folder: Path) -> CheckpointInfo:
    """Compare the weights of the checkpoint in `folder` with the hash in its JSON, and return what that says.

    Raises:
        UserError: There is no finished checkpoint.
        GenrobustError: The JSON or the weights are damaged.
    """
    info = read_checkpoint_info(folder)
    with reading(folder / WEIGHTS, ValueError, then=_remedy(folder), kind=GenrobustError):
        check_hash(folder / WEIGHTS, info.weights_sha256)
    if info.initial_sha256 and (folder / INITIAL).is_file():
        with reading(folder / INITIAL, ValueError, then=_remedy(folder), kind=GenrobustError):
            check_hash(folder / INITIAL, info.initial_sha256)
    return info


def is_under_way(folder: Path) -> bool:
    """Return whether a training keeps in `folder` what it goes on from."""
    return any((folder / name).exists() for name in UNDER_WAY)


def saved_steps(folder: Path) -> int:
    """Return how many steps the training in `folder` has saved; 0 where there are none that it could go on from."""
    try:
        with safe_open(folder / STATE, framework="numpy") as file:
            return int(json.loads(file.metadata()["progress"])["step"])
    except (OSError, SafetensorError, LookupError, TypeError, ValueError):
        return 0  # the training names what is damaged


def write_state(path: Path, content: bytes) -> None:
    """Write the state of a training, which appears whole or not at all.

    `content` is a safetensors file whose metadata have `BLANK_SEAL` under `SEAL`: the SHA-256 of all of it takes that
    place.
    """
    at = find_seal(content[: _header_end(content[:8])], _BEFORE_SEAL)
    with replacing(path) as file:
        file.write(content)
        write_seal(file, at)


def check_state(path: Path) -> None:
    """Compare the state of a training with the SHA-256 in it.

    Raises:
        GenrobustError: The state is damaged.
    """
    with reading(path, ValueError, then="; delete it to train from the start", kind=GenrobustError):
        with path.open("rb") as file:
            start = file.read(8)
            header = start + file.read(_header_end(start) - len(start))
        check_seal(path, find_seal(header, _BEFORE_SEAL))


def _header_end(start: bytes) -> int:
    """Where the header of a safetensors file ends, which begins with `start`, the length of the header."""
    return 8 + min(int.from_bytes(start, "little"), LARGEST_HEADER)


def _remedy(folder: Path) -> str:
    return f"; delete {folder / INFO} and train again"
