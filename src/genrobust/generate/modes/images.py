"""A real image of the class, through its CLIP embedding: variations of it, without text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import StableDiffusionImageVariationPipeline

from genrobust.core import Request, UserError
from genrobust.generate.mode import MODES, Mode


@MODES.register("images")
class Images(Mode):
    """Draws variations of the source image."""

    loader = StableDiffusionImageVariationPipeline
    kinds = frozenset({"StableDiffusionImageVariationPipeline"})
    needs = "a StableDiffusionImageVariationPipeline"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if self.generator.pipeline.feature_extractor is None:
            raise UserError(
                f"the generator {self.generator.id} lacks its feature_extractor, which prepares the real images"
            )

    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        prepare = self.generator.pipeline.feature_extractor
        pixels = [prepare(images=self.source_image(r), return_tensors="pt").pixel_values for r in requests]
        return {"image": torch.cat(pixels), "latents": self.latents(noise), **self.size}
