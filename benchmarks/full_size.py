"""Diffusers pipelines of full size with random weights, of which the speed is that of trained ones: nothing is fetched.

The numbers are those of the configurations of stable-diffusion-v1-5 and stable-diffusion-xl-base-1.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from genrobust.generate.mode import locate
from genrobust.recipe import GeneratorConfig

WORDS, TOKENS = 49_408, 77  # of CLIP's vocabulary, and in a prompt
NOISE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
SMALL_TEXT = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL_UNET = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4, "attention_head_dim": 4}
SMALL_VAE = {**VAE, "block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 4}


@dataclass(frozen=True)
class Shape:
    """A pipeline that draws squares of so many `pixels`, by its networks' arguments; with two `texts` it is an SDXL."""

    name: str
    pixels: int
    unet: Mapping[str, Any]
    texts: Sequence[Mapping[str, Any]]
    vae: Mapping[str, Any] = field(default_factory=lambda: VAE)


SD15 = Shape("SD 1.5", 512, {"cross_attention_dim": 768, "attention_head_dim": 8}, [CLIP_L])
SDXL = Shape(
    "SDXL",
    1024,
    {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
    },
    [CLIP_L, {**CLIP_G, "hidden_act": "gelu", "projection_dim": 1280}],
)
TINY_SD15 = Shape(
    "SD 1.5, tiny",
    64,
    {
        **SMALL_UNET,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 16,
    },
    [SMALL_TEXT],
    SMALL_VAE,
)
TINY_SDXL = Shape(
    "SDXL, tiny",
    64,
    {**TINY_SD15.unet, "cross_attention_dim": 32, "use_linear_projection": True},
    [SMALL_TEXT, {**SMALL_TEXT, "projection_dim": 16}],
    SMALL_VAE,
)


def unet_of(shape: Shape) -> diffusers.UNet2DConditionModel:
    more: dict[str, Any] = {}
    if len(shape.texts) == 2:  # SDXL's is also given six numbers of sizes and crops, and the pooled text
        pooled = shape.texts[1]["projection_dim"]
        more = {"addition_embed_type": "text_time", "addition_time_embed_dim": 256}
        more["projection_class_embeddings_input_dim"] = 6 * 256 + pooled
    return diffusers.UNet2DConditionModel(sample_size=shape.pixels // 8, **shape.unet, **more)


def pipeline_of(shape: Shape, dtype: torch.dtype, device: torch.device) -> Any:
    """A pipeline with random weights."""
    tokenizer = transformers.CLIPTokenizer.from_pretrained(locate(GeneratorConfig())[1] / "tokenizer")
    tokenizer.model_max_length = TOKENS
    words = {"vocab_size": WORDS, "max_position_embeddings": TOKENS, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    with torch.device(device):  # a GPU draws billions of weights in a second
        texts = [transformers.CLIPTextConfig(**words, **text) for text in shape.texts]
        parts: dict[str, Any] = {
            "text_encoder": transformers.CLIPTextModel(texts[0]).to(dtype),
            "unet": unet_of(shape).to(dtype),
            "tokenizer": tokenizer,
        }
        if len(texts) == 1:
            parts["vae"] = diffusers.AutoencoderKL(**shape.vae, sample_size=shape.pixels).to(dtype)
            parts["scheduler"] = diffusers.PNDMScheduler(**NOISE, skip_prk_steps=True, set_alpha_to_one=False)
            checker: dict[str, Any] = {"safety_checker": None, "feature_extractor": None}
            return diffusers.StableDiffusionPipeline(**parts, **checker, requires_safety_checker=False)
        vae = diffusers.AutoencoderKL(**shape.vae, sample_size=shape.pixels, scaling_factor=0.13025, force_upcast=True)
        second = transformers.CLIPTextModelWithProjection(texts[1]).to(dtype)
    return diffusers.StableDiffusionXLPipeline(
        **parts,
        vae=vae.to(dtype),
        text_encoder_2=second,
        tokenizer_2=tokenizer,
        scheduler=diffusers.EulerDiscreteScheduler(**NOISE),
        add_watermarker=False,
    )


def save_pipeline(shape: Shape, folder: Path, dtype: torch.dtype, device: torch.device) -> None:
    pipeline_of(shape, dtype, device).save_pretrained(folder)
