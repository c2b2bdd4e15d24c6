"""A real image of the class, through its CLIP embedding: variations of it, without text.

An image variation pipeline draws them, or with an IP-Adapter or a FLUX Redux a text-to-image one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from genrobust.core import Request, UserError
from genrobust.generate.mode import MODES, Mode
from genrobust.generate.pipeline_config import AdaptedConfig

if TYPE_CHECKING:
    import torch

TEXT_TOKENS = 512  # of FLUX's prompts


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


class ReduxImages(Mode):
    """Draws from the source image alone, whose tokens a FLUX Redux appends to those of the text, which are zeros.

    So does diffusers where the text encoders are left out, which take more memory than all else beside the transformer.
    """

    loader = "AutoPipelineForText2Image"
    kinds = frozenset({"FluxPipeline"})
    needs = "with a FLUX Redux in generator.adapter a FluxPipeline"
    unused = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        text_width = self.generator.pipeline.transformer.config.joint_attention_dim
        redux_width = self.generator.redux.image_embedder.redux_down.out_features
        if redux_width != text_width:
            raise UserError(
                f"generator.adapter: it gives tokens of {redux_width} numbers, and {self.generator.id} takes "
                f"{text_width}: take the one for this model"
            )

    def arguments(self, requests: Sequence[Request], noise: Sequence[torch.Generator]) -> dict[str, Any]:
        import torch

        redux, config = self.generator.redux, self.generator.config
        assert isinstance(config, AdaptedConfig) and config.adapter is not None  # or this mode would not draw
        # Not by a call of the Redux, which mixes the images of a batch into one.
        hidden = redux.encode_image([self.source_image(r) for r in requests], self.generator.device, 1)
        image = config.adapter.scale * redux.image_embedder(hidden).image_embeds
        redux.maybe_free_model_hooks()
        count, _, width = image.shape
        text = image.new_zeros(count, TEXT_TOKENS, width)
        pooled = image.new_zeros(count, self.generator.pipeline.transformer.config.pooled_projection_dim)
        return {"prompt_embeds": torch.cat([text, image], 1), "pooled_prompt_embeds": pooled, **self.size}


@MODES.register("images")
class Images(Mode):
    """Draws variations of the source image."""

    loader = "StableDiffusionImageVariationPipeline"
    kinds = frozenset({"StableDiffusionImageVariationPipeline"})
    needs = "a StableDiffusionImageVariationPipeline, or another generator and a generator.adapter"
    options = AdaptedConfig
    adapted: ClassVar = {"IP-Adapter": AdaptedImages, "FLUX Redux": ReduxImages}

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
