"""Requests to images: each from noise of its own; black, blank, NaN and unsafe ones are drawn again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from genrobust.core import FLAT_IMAGE, GenrobustError, Request, hashed_seed
from genrobust.generate.engine import Engine

FAULTS = ("black", "blank", "nan", "unsafe")
REDRAWS = 5  # of an image that is of no use
ENOUGH = 8  # images, the first of a run: if all are NaN, so will be the others


@dataclass(frozen=True, slots=True)
class Drawing:
    """The result of a request: `image` is RGB uint8 [H, W, 3], or None where it was given up.

    `faults` names what was wrong with each draw that was thrown away, in order; draws after the first are redraws.
    """

    request: Request
    image: np.ndarray | None
    faults: tuple[str, ...]

    @property
    def redraws(self) -> int:
        return len(self.faults) - (self.image is None)


class Sampler:
    """Draws images with an engine, those that are no use up to `redraws` times again."""

    def __init__(self, engine: Engine, redraws: int = REDRAWS) -> None:
        self._engine, self._redraws, self._any_drawn = engine, redraws, False

    def draw(self, requests: Sequence[Request]) -> list[Drawing]:
        """Return one Drawing a request, in order. All `requests` are one batch; so are those to be drawn again.

        Draw n > 0 of a request starts from the seed ``hashed_seed(request.seed, n)``.

        Raises:
            UserError: A source image cannot be read.
            GenrobustError: The device has too little memory, or all of the first images are NaN.
        """
        faults: list[tuple[str, ...]] = [() for _ in requests]
        images: list[np.ndarray | None] = [None for _ in requests]
        todo = list(range(len(requests)))
        for attempt in range(self._redraws + 1):
            batch = [requests[i] for i in todo]
            if attempt:
                batch = [replace(request, seed=hashed_seed(request.seed, attempt)) for request in batch]
            for i, image in zip(todo, self._engine.draw(batch), strict=True):
                problem = fault(image)
                if problem:
                    faults[i] += (problem,)
                elif image is not None:
                    images[i] = to_uint8(image)
            todo = [i for i in todo if images[i] is None]
            self._any_drawn |= len(todo) < len(requests)
            if not self._any_drawn and len(todo) >= ENOUGH and all(faults[i][-1] == "nan" for i in todo):
                raise GenrobustError(
                    f"the first {len(todo)} images of the generator are all NaN: set generator.dtype to bfloat16 or "
                    "float32, whose numbers are larger than those of float16"
                )
            if not todo:
                break
        return [Drawing(*parts) for parts in zip(requests, images, faults, strict=True)]


def fault(image: np.ndarray | None) -> str:
    """Return what makes an engine's image useless, a member of FAULTS; "" for nothing. None is an unsafe one."""
    if image is None:
        return "unsafe"
    flat = FLAT_IMAGE * 255 if image.dtype == np.uint8 else FLAT_IMAGE
    mean = image.mean()
    if not np.isfinite(mean):  # as it is only where every number is
        return "nan"
    if mean < flat:
        return "black"
    return "blank" if _is_flat(image, flat) else ""


def _is_flat(image: np.ndarray, flat: float) -> bool:
    """Whether no channel's standard deviation is `flat` or more. Most images show by a few pixels that one's is."""
    sample = image[::8, ::8]
    bound = sample.std(axis=(0, 1)).max() * math.sqrt(sample.size / image.size)  # as if the others were all alike
    return bool(bound < flat and image.std(axis=(0, 1)).max() < flat)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """[0, 1] to 0..255, rounded as diffusers rounds; bytes stay what they are."""
    return image if image.dtype == np.uint8 else (image * 255).round().astype(np.uint8)
