"""Mode images: variations of a real image of the class, through its CLIP embedding, without text.

They come from an image variation pipeline, or from a text-to-image pipeline with an IP-Adapter.
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
        if "FaceID" in type(self._projection).__name__:
            raise UserError("generator.adapter: it reads only faces, with a network other than CLIP: name another")
        # diffusers would show all images of a batch to each prompt. Pass embeddings of one image per prompt instead.
        self.generator.pipeline.prepare_ip_adapter_image_embeds = lambda images, embeds, *others: embeds

    @property
    def _projection(self) -> Any:
        """The part of the adapter that reads embeddings of images."""
        (projection,) = self.generator.pipeline.unet.encoder_hid_proj.image_projection_layers
        return projection

    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        import torch
        from diffusers.models.embeddings import ImageProjection

        pipeline = self.generator.pipeline
        images = [self.source_image(request) for request in requests]
        pixels = pipeline.feature_extractor(images=images, return_tensors="pt").pixel_values
        # Adapters with another projection are trained on hidden states of CLIP.
        is_hidden = not isinstance(self._projection, ImageProjection)
        conditional, unconditional = pipeline.encode_image(pixels, self.generator.device, 1, is_hidden)
        embeds = conditional
        if self.generator.config.guidance_scale > 1:
            embeds = torch.cat([unconditional, conditional])
        return {
            "prompt": [""] * len(requests),
            # [B, ...] -> [B, 1, ...]: one image for each prompt.
            "ip_adapter_image_embeds": [embeds[:, None]],
            "latents": self.latents(noise),
            **self.size,
        }


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
        pixels = []
        # One by one: source images may differ in size.
        for request in requests:
            pixels.append(prepare(images=self.source_image(request), return_tensors="pt").pixel_values)
        return {"image": torch.cat(pixels), "latents": self.latents(noise), **self.size}
