"""Modes labels and labels+images: a prompt with the class name, alone or with a real image of the class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import model_validator

from genrobust.core import Request
from genrobust.generate.mode import MODES, Mode
from genrobust.generate.pipeline_config import PromptedConfig
from genrobust.generate.pipeline_families import STABLE_DIFFUSION, from_text, from_text_and_image
from genrobust.generate.prompt_arguments import Prompts
from genrobust.recipe import PositiveFraction

if TYPE_CHECKING:
    import torch


@MODES.register("labels")
class Labels(Mode):
    """Draws from the prompt."""

    loader = "AutoPipelineForText2Image"
    kinds = STABLE_DIFFUSION  # `draws_with` knows more
    needs = "a text-to-image pipeline, such as a StableDiffusionPipeline or a StableDiffusionXLPipeline"
    options: ClassVar[type[PromptedConfig]] = PromptedConfig

    @classmethod
    def draws_with(cls, kind: str) -> bool:
        # Ask diffusers last: it imports every pipeline.
        return kind in cls.kinds or kind in from_text() | from_text_and_image()

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._prompts = Prompts(self.generator)

    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        arguments = {**self._prompts.arguments(requests), **self.size}
        # Other pipelines draw their first noise themselves, from the same sources.
        if type(self.generator.pipeline).__name__ in STABLE_DIFFUSION:
            arguments["latents"] = self.latents(noise)
        return arguments


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
    """Draws from the prompt, starting from the source image, which is noised by `strength` and denoised again."""

    loader = "AutoPipelineForImage2Image"
    needs = "a pipeline that draws from text and an image, such as a StableDiffusionPipeline"
    options = LabelsAndImagesConfig

    @classmethod
    def draws_with(cls, kind: str) -> bool:
        return kind in cls.kinds or kind in from_text_and_image()

    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        config = self.generator.config
        assert isinstance(config, LabelsAndImagesConfig)
        images = self.fitted_sources(requests)
        return {**self._prompts.arguments(requests), "image": images, "strength": config.strength, **self.size}
