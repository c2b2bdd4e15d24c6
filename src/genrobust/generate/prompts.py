"""Prompts as a pipeline's call takes them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genrobust.data import Request
from genrobust.errors import UserError

if TYPE_CHECKING:
    from genrobust.generate.pipeline import Generator

CACHE_BYTES = 512 * 2**20  # of prompt embeddings: some 2,000 prompts of Stable Diffusion 1.5 in float32

# The pipelines whose prompts are encoded here, one at a time: what `encode_prompt` returns for the prompt and for the
# negative one, by the names that the call takes. A pair is what it returns first and second.
_PLAIN = (("prompt_embeds", "negative_prompt_embeds"),)
_POOLED = (*_PLAIN, ("pooled_prompt_embeds", "negative_pooled_prompt_embeds"))
ENCODED = {
    "StableDiffusionPipeline": _PLAIN,
    "StableDiffusionImg2ImgPipeline": _PLAIN,
    "LatentConsistencyModelPipeline": _PLAIN,
    "LatentConsistencyModelImg2ImgPipeline": _PLAIN,
    "StableDiffusionXLPipeline": _POOLED,
    "StableDiffusionXLImg2ImgPipeline": _POOLED,
}


class Prompts:
    """Turns the prompts of requests into arguments: embeddings for Stable Diffusion and its kin, text for others.

    Each prompt is encoded by itself and kept: in a batch, its rounding would depend on the other prompts.
    """

    def __init__(self, generator: Generator) -> None:
        self._pipeline, self._device = generator.pipeline, generator.device
        self._names = ENCODED.get(type(generator.pipeline).__name__, ())
        taken = inspect.signature(generator.pipeline.__call__).parameters
        self._takes_negative = "negative_prompt" in taken
        # At a guidance of 1 or less, diffusers guides nothing and leaves the negative prompt alone.
        self._negative = self._takes_negative and generator.config.guidance_scale > 1
        if self._names:
            size = sum(tensor.nbytes for tensor in self._encode("", None))
            self._embedding = lru_cache(maxsize=max(1, CACHE_BYTES // size))(self._encode)

    def arguments(self, requests: Sequence[Request]) -> dict[str, Any]:
        """The prompt arguments of the pipeline's call for `requests`.

        Raises UserError for a negative prompt where the pipeline takes none.
        """
        if not self._takes_negative and any(r.negative_prompt for r in requests):
            kind = type(self._pipeline).__name__
            raise UserError(f"generate.prompts.negative_prompt: a {kind} takes none: leave it out")
        if not self._names:
            text = {"prompt": [r.prompt for r in requests]}
            return {**text, "negative_prompt": [r.negative_prompt for r in requests]} if self._negative else text
        found = dict(zip((n for n, _ in self._names), self._stack([(r.prompt, None) for r in requests]), strict=True))
        if self._negative:
            negative = self._stack([("", r.negative_prompt) for r in requests])
            found |= zip((n for _, n in self._names), negative, strict=True)
        return found

    def _stack(self, prompts: Sequence[tuple[str, str | None]]) -> list[Tensor]:
        return [torch.stack(tensors) for tensors in zip(*(self._embedding(*p) for p in prompts), strict=True)]

    @torch.inference_mode()
    def _encode(self, prompt: str, negative: str | None) -> tuple[Tensor, ...]:
        """The embeddings, [tokens, features] and pooled [features], of `prompt`, or of `negative` where it is not None.

        An empty negative prompt is none, which some pipelines embed as zeros.
        """
        found = self._pipeline.encode_prompt(
            prompt=prompt,
            device=self._device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=negative is not None,
            negative_prompt=negative or None,
        )
        return tuple(tensor[0] for tensor in found[(negative is not None) :: 2])
