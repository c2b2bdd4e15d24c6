"""Requests to images: each from noise of its own, black, blank and NaN ones drawn again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from genrobust.core import GenrobustError, Request, hashed_seed
from genrobust.generate.guidance import guidance_arguments
from genrobust.generate.modes import Mode
from genrobust.generate.pipeline import Generator

FAULTS = ("black", "blank", "nan", "unsafe")
FLAT = 0.01  # of [0, 1]: about 2.5 of 255 grey levels, below what a drawn line or a photo's noise gives
_NO_MEMORY = ("out of memory", "allocate memory", "not enough memory")  # CUDA and MPS, CPU, CPU on Windows


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a request came to: `image` is RGB uint8 [H, W, 3], or None where it was given up.

    `faults` is what was wrong with each draw that was thrown away, in order; draws after the first are redraws.
    """

    request: Request
    image: np.ndarray | None
    faults: tuple[str, ...]

    @property
    def redraws(self) -> int:
        return len(self.faults) - (self.image is None)


class Sampler:
    """Draws images with a generator, whose mode says what the generator is told of each request.

    An image depends on its request alone, up to rounding: its noise comes from its own seed and its source image is
    prepared by itself, so neither a batch's other images nor its size enter.
    """

    def __init__(self, generator: Generator, mode: Mode, max_redraws: int) -> None:
        self._generator = generator
        self._mode = mode
        self._max_redraws = max_redraws

    def draw(self, requests: Sequence[Request]) -> list[Drawing]:
        """One Drawing a request, in order. The whole of `requests` is one batch; so are those to be drawn again.

        Draw n > 0 of a request starts from the seed ``hashed_seed(request.seed, n)``. Raises UserError where a source
        image cannot be had, GenrobustError where the device has too little memory.
        """
        faults: list[tuple[str, ...]] = [() for _ in requests]
        images: list[np.ndarray | None] = [None for _ in requests]
        todo = list(range(len(requests)))
        for attempt in range(self._max_redraws + 1):
            seeds = [hashed_seed(requests[i].seed, attempt) if attempt else requests[i].seed for i in todo]
            drawn = self._sample([requests[i] for i in todo], seeds)
            for i, (image, fault) in zip(todo, drawn, strict=True):
                if fault:
                    faults[i] += (fault,)
                else:
                    images[i] = to_uint8(image)
            todo = [i for i in todo if images[i] is None]
            if not todo:
                break
        return [Drawing(*parts) for parts in zip(requests, images, faults, strict=True)]

    @torch.inference_mode()
    def _sample(self, requests: Sequence[Request], seeds: Sequence[int]) -> list[tuple[np.ndarray, str]]:
        """Draw each request once: its image, float [H, W, 3] in [0, 1], and what is wrong with it ("" for nothing)."""
        pipeline, config = self._generator.pipeline, self._generator.config
        # On the CPU whatever the device, so that every machine starts from the same noise. A pipeline or scheduler that
        # draws more noise goes on with the same sources.
        noise = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        with _out_of_memory_explained(self._generator, len(requests)):
            output = pipeline(
                **self._mode.arguments(requests, noise),
                **guidance_arguments(pipeline, config),
                generator=noise,
                num_inference_steps=config.steps,
                guidance_scale=config.guidance_scale,
                output_type="pt",
            )
            images = output.images.permute(0, 2, 3, 1).float().cpu().numpy()
        unsafe = getattr(output, "nsfw_content_detected", None) or [False] * len(images)
        return [(image, "unsafe" if bad else fault(image)) for image, bad in zip(images, unsafe, strict=True)]


@contextmanager
def _out_of_memory_explained(generator: Generator, images: int) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in _NO_MEMORY):
            raise
        size = "" if "width" in generator.config.unused else ", or generator.width and generator.height"
        half = ", or set generator.dtype to float16 or bfloat16" if generator.config.dtype == "float32" else ""
        raise GenrobustError(
            f"out of memory on {generator.device} while drawing {images} images of {generator.width} x "
            f"{generator.height} pixels at once: lower generate.batch_size{size}{half}"
        ) from error


def fault(image: np.ndarray) -> str:
    """What makes `image`, float [H, W, 3] in [0, 1], useless: "nan", "black", "blank" (one flat colour), or ""."""
    if not np.isfinite(image).all():
        return "nan"
    if image.mean() < FLAT:
        return "black"
    return "blank" if image.std(axis=(0, 1)).max() < FLAT else ""


def to_uint8(image: np.ndarray) -> np.ndarray:
    """[0, 1] to 0..255, rounded as diffusers rounds."""
    return (image * 255).round().astype(np.uint8)
