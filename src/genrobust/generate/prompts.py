"""Prompts as a pipeline's call takes them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from genrobust.core import Request, UserError
from genrobust.generate.mode import Generator
from genrobust.generate.pipelines import ENCODED, true_guidance

SCHNELL_TOKENS = 256  # that FLUX.1 schnell was distilled with; its pipeline's default, of FLUX.1 dev, is 512


class Prompts:
    """Turns the prompts of requests into arguments: embeddings for Stable Diffusion and its kin, text for others.

    The distinct prompts of a batch are encoded together, each once. Nothing of another batch enters, so that a run
    that begins with a batch draws the same.
    """

    def __init__(self, generator: Generator) -> None:
        self._pipeline, self._device = generator.pipeline, generator.device
        self._guidance = generator.config.guidance_scale
        self._names = ENCODED.get(type(generator.pipeline).__name__, ())
        parameters = inspect.signature(generator.pipeline.__call__).parameters
        self._takes_negative = "negative_prompt" in parameters and true_guidance(generator.pipeline) != 1
        # Cleaning depends on a package that may be installed or not, and prompts are what a plan says.
        self._plain: dict[str, Any] = {"clean_caption": False} if "clean_caption" in parameters else {}
        kind = type(generator.pipeline).__name__
        if (
            kind in ("FluxPipeline", "FluxImg2ImgPipeline")
            and not generator.pipeline.transformer.config.guidance_embeds
        ):
            self._plain["max_sequence_length"] = SCHNELL_TOKENS
        # At a guidance of 1 or less, diffusers guides nothing and leaves the negative prompt alone; of Z-Image and
        # Krea 2 at 0, whose guidance is what is added.
        unguided = 0 if kind.startswith(("ZImage", "Krea2")) else 1
        self._negative = self._takes_negative and self._guidance > unguided
        self._negatives = cache(self._encode_negative)  # each by itself: a recipe has one

    def arguments(self, requests: Sequence[Request]) -> dict[str, Any]:
        """Return the prompt arguments of the pipeline's call for `requests`.

        Raises:
            UserError: A request has a negative prompt, and the pipeline takes none, or none at this guidance.
        """
        if not self._negative and any(r.negative_prompt for r in requests):
            unguided = f" at a guidance_scale of {self._guidance:g}" if self._takes_negative else ""
            kind = type(self._pipeline).__name__
            raise UserError(f"generate.prompts.negative_prompt: a {kind} takes none{unguided}: leave it out")
        prompts, negatives = [r.prompt for r in requests], [r.negative_prompt for r in requests]
        if not self._names:
            return {"prompt": prompts, **({"negative_prompt": negatives} if self._negative else {}), **self._plain}
        embeddings = dict(zip((name for name, _ in self._names), self._encode(prompts), strict=True))
        if self._negative:
            stacked = [torch.cat(tensors) for tensors in zip(*map(self._negatives, negatives), strict=True)]
            embeddings |= zip((name for _, name in self._names), stacked, strict=True)
        return embeddings

    @torch.inference_mode()
    def _encode(self, prompts: Sequence[str]) -> tuple[Tensor, ...]:
        """The embeddings of `prompts`, [B, tokens, features] and pooled [B, features]."""
        distinct = list(dict.fromkeys(prompts))
        encoded = self._pipeline.encode_prompt(
            prompt=distinct, device=self._device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        positions = torch.tensor([distinct.index(prompt) for prompt in prompts], device=self._device)
        return tuple(tensor[positions] for tensor in encoded[::2])

    @torch.inference_mode()
    def _encode_negative(self, prompt: str) -> tuple[Tensor, ...]:
        """The embeddings of one negative prompt, [1, ...]. An empty one is none, which some pipelines make zeros."""
        encoded = self._pipeline.encode_prompt(
            prompt="",
            device=self._device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=True,
            negative_prompt=prompt or None,
        )
        return tuple(encoded[1::2])
