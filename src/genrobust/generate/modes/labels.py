"""A prompt with the class's name: text-to-image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import AutoPipelineForText2Image

from genrobust.core import Request
from genrobust.generate.mode import MODES, Mode
from genrobust.generate.prompts import ENCODED, FROM_TEXT, FROM_TEXT_AND_IMAGE, Prompts


@MODES.register("labels")
class Labels(Mode):
    """Draws from the prompt."""

    loader = AutoPipelineForText2Image
    kinds = FROM_TEXT | FROM_TEXT_AND_IMAGE
    needs = "a text-to-image pipeline, such as a StableDiffusionPipeline or a StableDiffusionXLPipeline"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._prompts = Prompts(self.generator)

    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        known = type(self.generator.pipeline).__name__ in ENCODED  # others draw noise of their own shape themselves
        starts = {"latents": self.latents(noise)} if known else {}
        return {**self._prompts.arguments(requests), **starts, **self.size}
