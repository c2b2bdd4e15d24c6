"""Tiny, random, but true pipelines of every kind that genrobust draws with; 64 px images from latents [C, 8, 8]."""

from __future__ import annotations

import json
import string
import tempfile
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker

LETTERS = [*string.printable[:94], *(f"{c}</w>" for c in string.printable[:94])]
TOKENS = ["<|startoftext|>", "<|endoftext|>", *LETTERS]
SIZE: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "projection_dim": 16}
ATTENTION: dict[str, Any] = {"num_layers": 1, "num_attention_heads": 2, "attention_head_dim": 8}
V_PREDICTION = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
NO_CHECKER: dict[str, Any] = {"safety_checker": None, "requires_safety_checker": False}


def tokenizer() -> transformers.CLIPTokenizer:
    """A tokenizer of single letters."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(TOKENS)}))
        (folder / "merges.txt").write_text("#version: 0.2\n")
        return transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)


def text_config(layers: int = 1) -> transformers.CLIPTextConfig:
    words = {"vocab_size": len(TOKENS), "max_position_embeddings": 77, "bos_token_id": 0, "eos_token_id": 1}
    return transformers.CLIPTextConfig(num_hidden_layers=layers, **SIZE, **words)


def vision_config() -> transformers.CLIPVisionConfig:
    return transformers.CLIPVisionConfig(num_hidden_layers=1, image_size=32, patch_size=16, **SIZE)


def feature_extractor() -> transformers.CLIPImageProcessor:
    return transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})


def unet(channels: int = 4, cross_attention: int = 16, **more: Any) -> diffusers.UNet2DConditionModel:
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=more.pop("in_channels", channels),
        out_channels=channels,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=cross_attention,
        attention_head_dim=8,
        norm_num_groups=4,
        **more,
    )


def vae(channels: int = 4, **more: Any) -> diffusers.AutoencoderKL:
    return diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=channels,
        **{"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 4, "sample_size": 64, **more},
    )


def stable_diffusion() -> diffusers.StableDiffusionPipeline:
    """With 12 latent channels, as the embedded generator has."""
    torch.manual_seed(0)
    return diffusers.StableDiffusionPipeline(
        text_encoder=transformers.CLIPTextModel(text_config()),
        unet=unet(12),
        vae=vae(12),
        tokenizer=tokenizer(),
        scheduler=diffusers.DPMSolverMultistepScheduler(**V_PREDICTION),
        feature_extractor=None,
        **NO_CHECKER,
    )


def with_safety_checker(threshold: float) -> diffusers.StableDiffusionPipeline:
    """Flags what is more alike to any of 17 random concepts than `threshold`, a cosine."""
    pipeline = stable_diffusion()
    torch.manual_seed(1)
    configs = {"text_config": text_config().to_dict(), "vision_config": vision_config().to_dict()}
    checker = StableDiffusionSafetyChecker(transformers.CLIPConfig(**configs, projection_dim=16))
    checker.concept_embeds.normal_()
    checker.concept_embeds_weights.fill_(threshold)
    checker.special_care_embeds_weights.fill_(2)  # beyond any cosine
    pipeline.register_modules(safety_checker=checker, feature_extractor=feature_extractor())
    pipeline.register_to_config(requires_safety_checker=True)
    return pipeline


def stable_diffusion_xl() -> diffusers.StableDiffusionXLPipeline:
    torch.manual_seed(0)
    extra = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "use_linear_projection": True}
    return diffusers.StableDiffusionXLPipeline(
        text_encoder=transformers.CLIPTextModel(text_config(layers=2)),
        text_encoder_2=transformers.CLIPTextModelWithProjection(text_config(layers=2)),
        unet=unet(4, 32, **extra, projection_class_embeddings_input_dim=6 * 8 + 16),
        vae=vae(),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        scheduler=diffusers.DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False),
        add_watermarker=False,
    )


def stable_diffusion_3() -> diffusers.StableDiffusion3Pipeline:
    """A transformer that follows a flow, as most newer pipelines are; without its third text encoder."""
    torch.manual_seed(0)
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=8,
        patch_size=1,
        in_channels=4,
        out_channels=4,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        pos_embed_max_size=8,
        **ATTENTION,
    )
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=vae(shift_factor=0.1),
        text_encoder=transformers.CLIPTextModelWithProjection(text_config(layers=2)),
        tokenizer=tokenizer(),
        text_encoder_2=transformers.CLIPTextModelWithProjection(text_config(layers=2)),
        tokenizer_2=tokenizer(),
        text_encoder_3=None,
        tokenizer_3=None,
    )


def latent_consistency() -> diffusers.LatentConsistencyModelPipeline:
    torch.manual_seed(0)
    return diffusers.LatentConsistencyModelPipeline(
        text_encoder=transformers.CLIPTextModel(text_config()),
        unet=unet(time_cond_proj_dim=8),
        vae=vae(),
        tokenizer=tokenizer(),
        scheduler=diffusers.LCMScheduler(),
        feature_extractor=None,
        **NO_CHECKER,
    )


def image_variation() -> diffusers.StableDiffusionImageVariationPipeline:
    torch.manual_seed(0)
    return diffusers.StableDiffusionImageVariationPipeline(
        image_encoder=transformers.CLIPVisionModelWithProjection(vision_config()),
        unet=unet(12),
        vae=vae(12),
        scheduler=diffusers.DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False),
        feature_extractor=feature_extractor(),
        **NO_CHECKER,
    )


def dit(classes: int = 3) -> diffusers.DiTPipeline:
    torch.manual_seed(0)
    shape = {"sample_size": 8, "patch_size": 2, "in_channels": 4, "out_channels": 8, "norm_num_groups": 4}
    transformer = diffusers.DiTTransformer2DModel(num_embeds_ada_norm=classes, **shape, **ATTENTION)
    for name, weight in transformer.named_parameters():
        if "embedding_table" in name:
            torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(0))
    scheduler = diffusers.DDIMScheduler(clip_sample=False)
    return diffusers.DiTPipeline(transformer=transformer, vae=vae(), scheduler=scheduler)


def stable_diffusion_1_5() -> diffusers.StableDiffusionPipeline:
    """The shape of SD 1.5: its scheduler, and 4 latent channels."""
    pipeline = stable_diffusion()
    scheduler = diffusers.PNDMScheduler(beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1)
    pipeline.register_modules(unet=unet(), vae=vae(), scheduler=scheduler)
    return pipeline


def stable_diffusion_2_1() -> diffusers.StableDiffusionPipeline:
    """The shape of SD 2.1: it predicts velocities, projects by linear layers, and has another text encoder."""
    pipeline = stable_diffusion()
    text = text_config(layers=2)
    text.hidden_act = "gelu"
    scheduler = diffusers.DDIMScheduler(beta_schedule="scaled_linear", prediction_type="v_prediction", steps_offset=1)
    pipeline.register_modules(unet=unet(use_linear_projection=True), vae=vae(), scheduler=scheduler)
    pipeline.register_modules(text_encoder=transformers.CLIPTextModel(text))
    return pipeline


def instruct_pix2pix() -> diffusers.StableDiffusionInstructPix2PixPipeline:
    """Its UNet takes the latents of the image beside the noisy ones."""
    parts = stable_diffusion_1_5().components | {"unet": unet(in_channels=8), **NO_CHECKER}
    return diffusers.StableDiffusionInstructPix2PixPipeline(**{**parts, "image_encoder": None})


def instruct_pix2pix_xl() -> diffusers.StableDiffusionXLInstructPix2PixPipeline:
    torch.manual_seed(0)
    extra = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "use_linear_projection": True}
    own = unet(4, 32, in_channels=8, **extra, projection_class_embeddings_input_dim=6 * 8 + 16)
    parts = {name: part for name, part in stable_diffusion_xl().components.items() if part is not None}
    return diffusers.StableDiffusionXLInstructPix2PixPipeline(**parts | {"unet": own}, add_watermarker=False)


KINDS = {
    "instruct-pix2pix": instruct_pix2pix,
    "instruct-pix2pix-xl": instruct_pix2pix_xl,
    "sd1.5": stable_diffusion_1_5,
    "sd2.1": stable_diffusion_2_1,
    "sd": stable_diffusion,
    "sdxl": stable_diffusion_xl,
    "sd3": stable_diffusion_3,
    "lcm": latent_consistency,
    "variation": image_variation,
    "dit": dit,
}


def saved(pipeline: diffusers.DiffusionPipeline, folder: Path) -> Path:
    pipeline.save_pretrained(folder)
    return folder
