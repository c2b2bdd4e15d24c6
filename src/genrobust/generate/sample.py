"""Requests to images: each from noise of its own, black, blank and NaN ones drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from genrobust.data import Request, hashed_seed
from genrobust.generate.pipeline import Generator

FAULTS = ("black", "blank", "nan", "unsafe")
FLAT = 0.01  # of [0, 1]: about 2.5 of 255 grey levels, below what a drawn line or a photo's noise gives
CACHE_BYTES = 512 * 2**20  # of prompt embeddings: some 2,000 prompts of Stable Diffusion 1.5 in float32


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
    """Draws images with a generator.

    An image depends on its request alone, up to rounding: its noise comes from its own seed and its prompt is encoded
    by itself, so neither a batch's other images nor its size enter.
    """

    def __init__(self, generator: Generator, max_redraws: int) -> None:
        self._generator = generator
        self._max_redraws = max_redraws
        text = generator.pipeline.text_encoder.config
        size = text.max_position_embeddings * text.hidden_size * generator.pipeline.text_encoder.dtype.itemsize
        self._embedding = lru_cache(maxsize=max(1, CACHE_BYTES // size))(self._encode)

    def draw(self, requests: Sequence[Request]) -> list[Drawing]:
        """One Drawing a request, in order. The whole of `requests` is one batch; so are those to be drawn again.

        Draw n > 0 of a request starts from the seed ``hashed_seed(request.seed, n)``.
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
        # On the CPU whatever the device, so that every machine starts from the same noise. A scheduler that adds noise
        # at each step goes on with the same generators.
        sources = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        noise = torch.stack([torch.randn(self._generator.latent_shape, generator=source) for source in sources])
        negative = None
        if config.guidance_scale > 1:  # else diffusers guides nothing
            negative = torch.stack([self._embedding(r.negative_prompt) for r in requests])
        output = pipeline(
            prompt_embeds=torch.stack([self._embedding(r.prompt) for r in requests]),
            negative_prompt_embeds=negative,
            latents=noise.to(self._generator.device, pipeline.unet.dtype),
            generator=sources,
            num_inference_steps=config.steps,
            guidance_scale=config.guidance_scale,
            width=self._generator.width,
            height=self._generator.height,
            output_type="pt",
        )
        images = output.images.permute(0, 2, 3, 1).float().cpu().numpy()
        unsafe = output.nsfw_content_detected or [False] * len(images)
        return [(image, "unsafe" if bad else fault(image)) for image, bad in zip(images, unsafe, strict=True)]

    def _encode(self, prompt: str) -> Tensor:
        """The text encoder's output for `prompt`, [tokens, features].

        One prompt at a time: in a batch, its rounding would depend on which others are not cached yet.
        """
        embedding, _ = self._generator.pipeline.encode_prompt(
            prompt, self._generator.device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        return embedding[0]


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
