"""Turns requests into images, each from its own noise. Black, blank, NaN and unsafe images are drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from genrobust.core import FLAT_IMAGE, Request, hashed_seed
from genrobust.generate.engine import Engine

FAULTS = ("black", "blank", "nan", "unsafe")
REDRAWS = 5  # of an unusable image, before its request is given up
SLACK = 0.001  # tolerated outside of [0, 1], and rounded to 0 or 1


@dataclass(frozen=True, slots=True)
class Drawing:
    """The result of a request.

    Attributes:
        image: RGB uint8 [H, W, 3]; None if the request was given up.
        faults: The fault of each discarded draw, in order.
    """

    request: Request
    image: np.ndarray | None
    faults: tuple[str, ...]

    @property
    def redraws(self) -> int:
        """The number of draws after the first."""
        return len(self.faults) - (self.image is None)


class Sampler:
    """Draws images with an engine, and unusable ones up to `redraws` times again."""

    def __init__(self, engine: Engine, redraws: int = REDRAWS) -> None:
        self._engine, self._redraws = engine, redraws

    def draw(self, requests: Sequence[Request]) -> list[Drawing]:
        """Draw `requests` as one batch, and those to draw again as smaller batches. Returns a Drawing for each.

        Draw n > 0 of a request has the seed ``hashed_seed(request.seed, n)``.
        """
        faults: list[list[str]] = [[] for _ in requests]
        images: list[np.ndarray | None] = [None for _ in requests]
        todo = list(range(len(requests)))
        for attempt in range(self._redraws + 1):
            batch = [_for_attempt(requests[i], attempt) for i in todo]
            for i, image in zip(todo, self._engine.draw(batch), strict=True):
                fault = find_fault(image)
                if fault:
                    faults[i].append(fault)
                elif image is not None:
                    images[i] = to_uint8(image)
            todo = [i for i in todo if images[i] is None]
            if not todo:
                break
        drawings = zip(requests, images, faults, strict=True)
        return [Drawing(request, image, tuple(found)) for request, image, found in drawings]


def _for_attempt(request: Request, attempt: int) -> Request:
    """Return `request` with the seed of its draw number `attempt`."""
    if attempt == 0:
        return request
    return replace(request, seed=hashed_seed(request.seed, attempt))


def find_fault(image: np.ndarray | None) -> str:
    """Return why an engine's image is unusable, a member of FAULTS, or "". An unsafe image is None."""
    if image is None:
        return "unsafe"
    flat = FLAT_IMAGE * 255 if image.dtype == np.uint8 else FLAT_IMAGE
    # The mean is finite only if all values are.
    mean = image.mean()
    if not np.isfinite(mean):
        return "nan"
    if mean < flat:
        return "black"
    if image.std(axis=(0, 1)).max() < flat:
        return "blank"
    return ""


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Convert floats in [0, 1] to 0..255, rounded as diffusers does. Leaves uint8 as it is."""
    if image.dtype == np.uint8:
        return image
    assert image.min() >= -SLACK and image.max() <= 1 + SLACK, "Engine.draw returns uint8, or floats in [0, 1]"
    return (image * 255).round().astype(np.uint8)
