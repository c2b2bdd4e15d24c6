"""Mode edit: an instruction and a real image of the class, which the pipeline changes: into another style, for one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from genrobust.core import Request, UserError
from genrobust.generate.mode import MODES, Mode
from genrobust.generate.pipeline_config import GUIDANCE, PromptedConfig
from genrobust.generate.pipeline_families import parameters_of
from genrobust.generate.prompt_arguments import Prompts

if TYPE_CHECKING:
    import torch

# Otherwise FLUX Kontext enlarges its source image to a megapixel: for 512 px, three times the work.
# A private argument; checked with diffusers 0.39 to 0.42.
KEEP_SIZE = {"_auto_resize": False}


class EditConfig(PromptedConfig):
    """An instruction in place of a prompt ("turn this {} into a pencil sketch"), and a real image, which it changes.

    `image_guidance_scale` is how strongly an InstructPix2Pix (Brooks et al., 2023, arXiv:2211.09800) keeps to the
    image; None is the pipeline's own.
    """

    image_guidance_scale: Annotated[float, GUIDANCE] | None = None  # with an InstructPix2Pix

    @property
    def reads_text(self) -> bool:
        return True

    @property
    def reads_images(self) -> bool:
        return True

    @property
    def reads_instructions(self) -> bool:
        return True


@MODES.register("edit")
class Edit(Mode):
    """Changes the source image as the prompt says."""

    loader = "DiffusionPipeline"
    kinds = frozenset(
        {"StableDiffusionInstructPix2PixPipeline", "StableDiffusionXLInstructPix2PixPipeline", "FluxKontextPipeline"}
    )
    needs = "a pipeline that edits by instruction, an InstructPix2Pix or a FLUX Kontext"
    options = EditConfig

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        config = self.generator.config
        assert isinstance(config, EditConfig)
        pipeline = self.generator.pipeline
        parameters = parameters_of(pipeline)
        self._prompts = Prompts(self.generator)
        self._constant: dict[str, Any] = {}
        if config.image_guidance_scale is not None:
            if "image_guidance_scale" not in parameters:
                kind = type(pipeline).__name__
                raise UserError(f"generator.image_guidance_scale: a {kind} takes none: leave it out")
            self._constant["image_guidance_scale"] = config.image_guidance_scale
        if "max_area" in parameters:
            # Otherwise it draws a megapixel in these proportions.
            self._constant |= {"max_area": self.generator.width * self.generator.height, **KEEP_SIZE}

    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        images = self.fitted_sources(requests)
        return {**self._prompts.arguments(requests), "image": images, **self._constant, **self.size}
