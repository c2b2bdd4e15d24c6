"""Turns the prompts of requests into arguments of a pipeline's call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genrobust.core import Request, UserError
from genrobust.generate.mode import Generator
from genrobust.generate.pipeline_families import parameters_of, true_guidance

# FLUX.1 schnell was distilled with so many tokens. Its pipeline defaults to 512, as for FLUX.1 dev.
SCHNELL_TOKENS = 256


class Prompts:
    """Turns the prompts of requests into arguments of the pipeline's call."""

    def __init__(self, generator: Generator) -> None:
        pipeline = generator.pipeline
        self._kind = type(pipeline).__name__
        self._guidance_scale = generator.config.guidance_scale
        parameters = parameters_of(pipeline)
        self._takes_negative = "negative_prompt" in parameters and true_guidance(pipeline) != 1
        # At this guidance scale or less, diffusers ignores the negative prompt. Z-Image and Krea 2 count from 0.
        unguided_scale = 0 if self._kind.startswith(("ZImage", "Krea2")) else 1
        self._uses_negative = self._takes_negative and self._guidance_scale > unguided_scale
        self._constant: dict[str, Any] = {}
        if "clean_caption" in parameters:
            # Cleaning depends on an optional package. A prompt must stay as the plan has it.
            self._constant["clean_caption"] = False
        is_flux = self._kind in ("FluxPipeline", "FluxImg2ImgPipeline")
        if is_flux and not pipeline.transformer.config.guidance_embeds:
            self._constant["max_sequence_length"] = SCHNELL_TOKENS

    def arguments(self, requests: Sequence[Request]) -> dict[str, Any]:
        """Return the prompt arguments of the pipeline's call for `requests`."""
        arguments: dict[str, Any] = {"prompt": [request.prompt for request in requests], **self._constant}
        negatives = [request.negative_prompt for request in requests]
        has_negatives = any(negatives)
        if has_negatives and not self._uses_negative:
            if self._takes_negative:
                reason = f" at a guidance_scale of {self._guidance_scale:g}"
            else:
                reason = ""
            raise UserError(f"generate.prompts.negative_prompt: a {self._kind} takes none{reason}: leave it out")
        # SDXL's own negative prompt is zeros instead of an empty text.
        has_own_default = "XL" in self._kind
        if self._uses_negative and (has_negatives or not has_own_default):
            arguments["negative_prompt"] = negatives
        return arguments
