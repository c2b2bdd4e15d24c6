"""A prompt with the class's name: text-to-image, and image-to-image from a real image of the class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from PIL import Image, ImageOps
from pydantic import model_validator

from genrobust.core import Request
from genrobust.generate.mode import MODES, Mode
from genrobust.generate.pipeline_config import PromptedConfig
from genrobust.generate.pipelines import STABLE_DIFFUSION, from_text, from_text_and_image
from genrobust.generate.prompts import Prompts
from genrobust.recipe import PositiveFraction

if TYPE_CHECKING:
    import torch


@MODES.register("labels")
class Labels(Mode):
    """Draws from the prompt."""

    loader = "AutoPipelineForText2Image"
    kinds = STABLE_DIFFUSION  # and others that diffusers knows
    needs = "a text-to-image pipeline, such as a StableDiffusionPipeline or a StableDiffusionXLPipeline"
    options: ClassVar[type[PromptedConfig]] = PromptedConfig

    @classmethod
    def draws_with(cls, kind: str) -> bool:
        return kind in cls.kinds or kind in from_text() | from_text_and_image()

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._prompts = Prompts(self.generator)

    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        kind = type(self.generator.pipeline).__name__
        starts = {"latents": self.latents(noise)} if kind in STABLE_DIFFUSION else {}  # others draw theirs themselves
        return {**self._prompts.arguments(requests), **starts, **self.size}


class LabelsAndImagesConfig(PromptedConfig):
    """A prompt and a real image, which is noised by `strength`: near 0 keeps the image, 1 ignores it."""

    strength: PositiveFraction = 0.6  # keeps pose and layout, changes surfaces and background

    @model_validator(mode="after")
    def _check_strength(self) -> LabelsAndImagesConfig:
        if self.drawn_steps < 1:
            raise ValueError(
                f"strength {self.strength} of {self.steps} steps leaves no step to sample with: raise strength or steps"
            )
        return self

    @property
    def drawn_steps(self) -> int:
        return int(self.steps * self.strength)


@MODES.register("labels+images")
class LabelsAndImages(Labels):
    """Draws from the prompt, beginning at the source image, which is noised by `strength` and denoised again."""

    loader = "AutoPipelineForImage2Image"
    needs = "a pipeline that draws from text and an image, such as a StableDiffusionPipeline"
    options = LabelsAndImagesConfig

    @classmethod
    def draws_with(cls, kind: str) -> bool:
        return kind in cls.kinds or kind in from_text_and_image()

    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        config, size = self.generator.config, (self.generator.width, self.generator.height)
        assert isinstance(config, LabelsAndImagesConfig)
        images = [ImageOps.fit(self.source_image(r), size, Image.Resampling.LANCZOS) for r in requests]
        return {**self._prompts.arguments(requests), "image": images, "strength": config.strength, **self.size}
