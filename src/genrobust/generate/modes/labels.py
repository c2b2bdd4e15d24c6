"""A prompt with the class's name: text-to-image, and image-to-image from a real image of the class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps

from genrobust.core import Request
from genrobust.generate.mode import MODES, Mode
from genrobust.generate.pipelines import ENCODED, from_text, from_text_and_image

if TYPE_CHECKING:
    import torch


@MODES.register("labels")
class Labels(Mode):
    """Draws from the prompt."""

    loader = "AutoPipelineForText2Image"
    kinds = frozenset(ENCODED)  # and others that diffusers knows
    needs = "a text-to-image pipeline, such as a StableDiffusionPipeline or a StableDiffusionXLPipeline"

    @classmethod
    def draws_with(cls, kind: str) -> bool:
        return kind in cls.kinds or kind in from_text() | from_text_and_image()

    def __init__(self, *args: Any) -> None:
        from genrobust.generate.prompts import Prompts

        super().__init__(*args)
        self._prompts = Prompts(self.generator)

    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        known = type(self.generator.pipeline).__name__ in ENCODED  # others draw noise of their own shape themselves
        starts = {"latents": self.latents(noise)} if known else {}
        return {**self._prompts.arguments(requests), **starts, **self.size}


@MODES.register("labels+images")
class LabelsAndImages(Labels):
    """Draws from the prompt, beginning at the source image, which is noised by `strength` and denoised again."""

    loader = "AutoPipelineForImage2Image"
    needs = "a pipeline that draws from text and an image, such as a StableDiffusionPipeline"

    @classmethod
    def draws_with(cls, kind: str) -> bool:
        return kind in cls.kinds or kind in from_text_and_image()

    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        size = (self.generator.width, self.generator.height)
        images = [ImageOps.fit(self.source_image(r), size, Image.Resampling.LANCZOS) for r in requests]
        strength = {"strength": self.generator.config.strength}
        return {**self._prompts.arguments(requests), "image": images, **strength, **self.size}
