"""What a checkpoint's folder says of it, without its weights and without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
STATE = "state.safetensors"
LARGEST_HEADER = 100_000_000  # bytes, of a safetensors file, as its readers have it
_KINDS = {"architecture": str, "model_kwargs": dict, "image_size": int, "training": dict, "weights_sha256": str}
_BEFORE_SEAL = f'"{SEAL}":"'.encode()


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """What a checkpoint is: an `architecture` made with `model_kwargs`, for images of `image_size` pixels.

    `classes` are the K class ids in the order of the logits.

    `training` says how it came about (settings, seed, history); nothing here needs it to load. `weights_sha256` is that
    of the file of weights, "" before it is saved.
    """

    architecture: str
    model_kwargs: dict[str, Any]
    classes: tuple[str, ...]
    image_size: int
    training: dict[str, Any]
    weights_sha256: str = ""


def is_checkpoint(folder: Path) -> bool:
    """Whether `folder` holds a finished checkpoint: the JSON is written last."""
    return (folder / INFO).is_file()


def fetch_checkpoint(folder: Path) -> bool:
    """Fetch the checkpoint in `folder`, where that mirrors a remote, and return whether it is finished."""
    fetch(folder, WEIGHTS, INFO)
    return is_checkpoint(folder)


def read_checkpoint_info(folder: Path) -> CheckpointInfo:
    """What the checkpoint in `folder` is, without its weights.

    Raises UserError where there is none (training writes the JSON last, so an unfinished run has none), GenrobustError
    where the JSON is damaged.
    """
    path = folder / INFO
    with reading(path, ValueError, KeyError, TypeError, then=_remedy(folder), kind=GenrobustError):
        if not is_checkpoint(folder):
            raise UserError(f"no finished checkpoint in {folder}: {INFO} is missing; train it first")
        raw = unsealed(path.read_bytes())
        info = CheckpointInfo(**{**raw, "classes": tuple(raw["classes"])})
        if found := [key for key, kind in _KINDS.items() if not isinstance(getattr(info, key), kind)]:
            raise TypeError(f"{found[0]} is no {_KINDS[found[0]].__name__}")
        if not all(isinstance(id, str) for id in info.classes) or info.image_size < 1:
            raise ValueError("classes are ids, and image_size is a number of pixels")
        return info


def check_weights(folder: Path) -> CheckpointInfo:
    """Compare the weights of the checkpoint in `folder` with the hash in its JSON, and return what that says.

    Raises as `read_checkpoint_info`, also where the weights are damaged.
    """
    info = read_checkpoint_info(folder)
    with reading(folder / WEIGHTS, ValueError, then=_remedy(folder), kind=GenrobustError):
        check_hash(folder / WEIGHTS, info.weights_sha256)
    return info


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
    """Compare the state of a training with the SHA-256 in it; raises GenrobustError where it is damaged."""
    with reading(path, ValueError, then="; delete it to train from the start", kind=GenrobustError):
        with path.open("rb") as file:
            start = file.read(8)
            header = start + file.read(_header_end(start) - len(start))
        check_seal(path, find_seal(header, _BEFORE_SEAL))


def _header_end(start: bytes) -> int:
    """Where the header of a safetensors file ends, which begins with `start`, the length of the header."""
    return 8 + min(int.from_bytes(start, "little"), LARGEST_HEADER)


def _remedy(folder: Path) -> str:
    return f"; delete {folder} and train again"
