"""A real image of the class, through its CLIP embedding: variations of it, without text.

An image variation pipeline draws them, or with an IP-Adapter a text-to-image one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from genrobust.core import Request, UserError
from genrobust.generate.mode import MODES, Mode
from genrobust.generate.pipeline_config import AdaptedConfig

if TYPE_CHECKING:
    import torch


class AdaptedImages(Mode):
    """Draws from the source image and an empty prompt, through an IP-Adapter."""

    loader = "AutoPipelineForText2Image"
    kinds = frozenset({"StableDiffusionPipeline", "StableDiffusionXLPipeline"})
    needs = "with an IP-Adapter in generator.adapter a StableDiffusionPipeline or a StableDiffusionXLPipeline"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        (projection,) = self.generator.pipeline.unet.encoder_hid_proj.image_projection_layers
        if "FaceID" in type(projection).__name__:
            raise UserError("generator.adapter: it reads only faces, with a network other than CLIP: name another")
        # diffusers would show all images of a batch to each of its prompts; here each has its own.
        self.generator.pipeline.prepare_ip_adapter_image_embeds = lambda images, embeds, *others: embeds

    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        import torch
        from diffusers.models.embeddings import ImageProjection

        pipeline = self.generator.pipeline
        pixels = pipeline.feature_extractor(images=[self.source_image(r) for r in requests], return_tensors="pt")
        (projection,) = pipeline.unet.encoder_hid_proj.image_projection_layers
        hidden = not isinstance(projection, ImageProjection)  # what other adapters are trained on
        conditional, unconditional = pipeline.encode_image(pixels.pixel_values, self.generator.device, 1, hidden)
        guided = self.generator.config.guidance_scale > 1
        # one image for each prompt
        embeds = (torch.cat([unconditional, conditional]) if guided else conditional)[:, None]
        prompts = {"prompt": [""] * len(requests), "ip_adapter_image_embeds": [embeds]}
        return {**prompts, "latents": self.latents(noise), **self.size}


@MODES.register("images")
class Images(Mode):
    """Draws variations of the source image."""

    loader = "StableDiffusionImageVariationPipeline"
    kinds = frozenset({"StableDiffusionImageVariationPipeline"})
    needs = "a StableDiffusionImageVariationPipeline, or another generator and a generator.adapter"
    options = AdaptedConfig
    adapted = AdaptedImages

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if self.generator.pipeline.feature_extractor is None:
            raise UserError(
                f"the generator {self.generator.id} lacks its feature_extractor, which prepares the real images"
            )

    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        import torch

        prepare = self.generator.pipeline.feature_extractor
        pixels = [prepare(images=self.source_image(r), return_tensors="pt").pixel_values for r in requests]
        return {"image": torch.cat(pixels), "latents": self.latents(noise), **self.size}
