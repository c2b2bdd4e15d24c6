"""Prompts as a pipeline's call takes them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from genrobust.core import Request, UserError
from genrobust.generate.mode import Generator
from genrobust.generate.pipelines import true_guidance

SCHNELL_TOKENS = 256  # that FLUX.1 schnell was distilled with; its pipeline's default, of FLUX.1 dev, is 512


class Prompts:
    """Turns the prompts of requests into arguments of the pipeline's call."""

    def __init__(self, generator: Generator) -> None:
        self._kind, self._guidance = type(generator.pipeline).__name__, generator.config.guidance_scale
        parameters = inspect.signature(generator.pipeline.__call__).parameters
        self._takes_negative = "negative_prompt" in parameters and true_guidance(generator.pipeline) != 1
        # Cleaning depends on a package that may be installed or not, and prompts are what a plan says.
        self._plain: dict[str, Any] = {"clean_caption": False} if "clean_caption" in parameters else {}
        if (
            self._kind in ("FluxPipeline", "FluxImg2ImgPipeline")
            and not generator.pipeline.transformer.config.guidance_embeds
        ):
            self._plain["max_sequence_length"] = SCHNELL_TOKENS
        # At a guidance of 1 or less, diffusers guides nothing and leaves the negative prompt alone; of Z-Image and
        # Krea 2 at 0, whose guidance is what is added.
        unguided = 0 if self._kind.startswith(("ZImage", "Krea2")) else 1
        self._negative = self._takes_negative and self._guidance > unguided

    def arguments(self, requests: Sequence[Request]) -> dict[str, Any]:
        """Return the prompt arguments of the pipeline's call for `requests`.

        Raises:
            UserError: A request has a negative prompt, and the pipeline takes none, or none at this guidance.
        """
        arguments = {"prompt": [r.prompt for r in requests], **self._plain}
        negatives = [r.negative_prompt for r in requests]
        if any(negatives) and not self._negative:
            unguided = f" at a guidance_scale of {self._guidance:g}" if self._takes_negative else ""
            raise UserError(f"generate.prompts.negative_prompt: a {self._kind} takes none{unguided}: leave it out")
        if self._negative and (any(negatives) or "XL" not in self._kind):  # SDXL's own is no empty text, but zeros
            arguments["negative_prompt"] = negatives
        return arguments
