"""Requests to images: each from noise of its own; black, blank, NaN and unsafe ones are drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from genrobust.core import FLAT_IMAGE, Request, hashed_seed
from genrobust.generate.engine import Engine

FAULTS = ("black", "blank", "nan", "unsafe")
REDRAWS = 5  # of an image that is of no use
SLACK = 0.001  # beyond [0, 1], which rounds to its ends


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
        self._engine, self._redraws = engine, redraws

    def draw(self, requests: Sequence[Request]) -> list[Drawing]:
        """Return one Drawing a request, in order. All `requests` are one batch; so are those to be drawn again.

        Draw n > 0 of a request starts from the seed ``hashed_seed(request.seed, n)``.

        Raises:
            UserError: A source image cannot be read.
            GenrobustError: The device has too little memory.
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
    return "blank" if image.std(axis=(0, 1)).max() < flat else ""


def to_uint8(image: np.ndarray) -> np.ndarray:
    """[0, 1] to 0..255, rounded as diffusers rounds; bytes stay what they are."""
    if image.dtype == np.uint8:
        return image
    assert image.min() >= -SLACK and image.max() <= 1 + SLACK, "Engine.draw returns uint8, or floats in [0, 1]"
    return (image * 255).round().astype(np.uint8)
