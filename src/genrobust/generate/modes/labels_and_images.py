"""A prompt, and a real image of the class that is noised by `strength` and denoised again: image-to-image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import AutoPipelineForImage2Image
from PIL import Image, ImageOps

from genrobust.core import Request
from genrobust.generate.mode import MODES, Mode
from genrobust.generate.prompts import FROM_TEXT_AND_IMAGE, Prompts


@MODES.register("labels+images")
class LabelsAndImages(Mode):
    """Draws from the prompt, beginning at the source image."""

    loader = AutoPipelineForImage2Image
    kinds = FROM_TEXT_AND_IMAGE
    needs = "a pipeline that draws from text and an image, such as a StableDiffusionPipeline"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._prompts = Prompts(self.generator)

    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        size = (self.generator.width, self.generator.height)
        images = [ImageOps.fit(self.source_image(r), size, Image.Resampling.LANCZOS) for r in requests]
        strength = {"strength": self.generator.config.strength}
        return {**self._prompts.arguments(requests), "image": images, **strength, **self.size}
