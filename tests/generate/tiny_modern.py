"""Tiny, random, but true pipelines of today's generators: transformers that follow a flow, and language models.

They are built from configurations, with the parts and the shapes that the real ones have, and draw 64 px.
"""

from __future__ import annotations

import string
from typing import Any

import diffusers
import tokenizers
import torch
import transformers
from tiny import ATTENTION, stable_diffusion_3, stable_diffusion_xl, text_config, tokenizer, vae

CHARACTERS = ["<pad>", "</s>", "<unk>", *string.printable[:95], "\n"]
SMALL: dict[str, Any] = {"vocab_size": len(CHARACTERS), "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}
LANGUAGE: dict[str, Any] = {**SMALL, "hidden_size": 16, "intermediate_size": 32, "max_position_embeddings": 2048}
LANGUAGE |= {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
WIDE: dict[str, Any] = {"attention_head_dim": 16, "num_attention_heads": 2}
FLUX: dict[str, Any] = {**WIDE, "in_channels": 16, "num_layers": 1, "num_single_layers": 1}
LATENTS: dict[str, Any] = {
    **ATTENTION,
    "in_channels": 4,
    "sample_size": 8,
    "cross_attention_dim": 16,
    "caption_channels": 16,
}
CHANNELS = (8, 8, 8, 8)


def words(**more: Any) -> transformers.PreTrainedTokenizerFast:
    """A tokenizer of single characters, with the form that a chat has."""
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({c: i for i, c in enumerate(CHARACTERS)}, "<unk>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=2048, **more
    )
    made.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return made


def t5(width: int = 16) -> transformers.T5EncoderModel:
    shape = {"d_model": width, "d_ff": 32, "d_kv": 8, "num_layers": 1, "num_heads": 2}
    return transformers.T5EncoderModel(transformers.T5Config(**SMALL, **shape, decoder_start_token_id=0))


def gemma() -> transformers.Gemma2Model:
    config = transformers.Gemma2Config(**LANGUAGE, num_hidden_layers=2, query_pre_attn_scalar=8)
    return transformers.Gemma2Model(config)


def qwen3(layers: int = 2) -> transformers.Qwen3ForCausalLM:
    return transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**LANGUAGE, num_hidden_layers=layers))


def flow(**more: Any) -> diffusers.FlowMatchEulerDiscreteScheduler:
    return diffusers.FlowMatchEulerDiscreteScheduler(**more)


def flux(guidance_embeds: bool = True) -> diffusers.FluxPipeline:
    """FLUX.1-dev; without `guidance_embeds`, FLUX.1-schnell."""
    torch.manual_seed(0)
    shape = {**FLUX, "joint_attention_dim": 16, "pooled_projection_dim": 16, "axes_dims_rope": (4, 6, 6)}
    transformer = diffusers.FluxTransformer2DModel(**shape, guidance_embeds=guidance_embeds)
    with torch.no_grad():  # or the tokens beside those of the image do next to nothing
        for block in (*transformer.transformer_blocks, *transformer.single_transformer_blocks):
            for weight in block.parameters():
                weight *= 3 if weight.ndim == 2 else 1
    text = text_config()
    text.projection_dim = None
    return diffusers.FluxPipeline(
        scheduler=flow(use_dynamic_shifting=guidance_embeds),
        vae=vae(shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=transformers.CLIPTextModel(text),
        tokenizer=tokenizer(),
        text_encoder_2=t5(),
        tokenizer_2=words(),
        transformer=transformer,
    )


def flux_kontext() -> diffusers.FluxKontextPipeline:
    parts = {name: part for name, part in flux().components.items() if part is not None}
    return diffusers.FluxKontextPipeline(**parts)


def flux_2() -> diffusers.Flux2KleinPipeline:
    """FLUX.2-klein, whose language model is read at its layers 9, 18 and 27."""
    torch.manual_seed(0)
    shape = {**FLUX, "joint_attention_dim": 48, "axes_dims_rope": (4, 4, 4, 4)}
    transformer = diffusers.Flux2Transformer2DModel(**shape, guidance_embeds=False)
    autoencoder = diffusers.AutoencoderKLFlux2(
        block_out_channels=CHANNELS, layers_per_block=1, latent_channels=4, norm_num_groups=4, sample_size=64
    )
    scheduler = flow(use_dynamic_shifting=True)
    return diffusers.Flux2KleinPipeline(scheduler, autoencoder, qwen3(28), words(), transformer)


def pixart_sigma() -> diffusers.PixArtSigmaPipeline:
    torch.manual_seed(0)
    transformer = diffusers.PixArtTransformer2DModel(
        **LATENTS, out_channels=8, norm_num_groups=4, use_additional_conditions=False
    )
    scheduler = diffusers.DPMSolverMultistepScheduler()
    return diffusers.PixArtSigmaPipeline(words(), t5(), vae(), transformer, scheduler)


def sana() -> diffusers.SanaPipeline:
    """Its autoencoder makes an eighth of each side here, and a 32nd in Sana."""
    torch.manual_seed(0)
    crossing = {"num_cross_attention_heads": 2, "cross_attention_head_dim": 8}
    transformer = diffusers.SanaTransformer2DModel(**LATENTS, **crossing, out_channels=4)
    blocks = {
        "block_types": ("ResBlock",) * 3 + ("EfficientViTBlock",),
        "block_out_channels": CHANNELS,
        "layers_per_block": (1, 1, 1, 1),
        "qkv_multiscales": ((), (), (), (5,)),
    }
    coders = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in blocks.items()}
    autoencoder = diffusers.AutoencoderDC(latent_channels=4, attention_head_dim=2, **coders)
    follows_flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
    scheduler = diffusers.DPMSolverMultistepScheduler(**follows_flow)
    return diffusers.SanaPipeline(words(padding_side="right"), gemma(), autoencoder, transformer, scheduler)


def lumina_2() -> diffusers.Lumina2Pipeline:
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "sample_size": 8,
        "in_channels": 4,
        "hidden_size": 24,
        "multiple_of": 16,
        "cap_feat_dim": 16,
    }
    shape |= {"num_layers": 1, "num_refiner_layers": 1, "num_attention_heads": 3, "num_kv_heads": 1}
    axes = {"axes_dim_rope": (4, 2, 2), "axes_lens": (512, 64, 64)}
    transformer = diffusers.Lumina2Transformer2DModel(**shape, **axes)
    return diffusers.Lumina2Pipeline(transformer, flow(), vae(shift_factor=0.1), gemma(), words())


def qwen_image() -> diffusers.QwenImagePipeline:
    torch.manual_seed(0)
    shape = {**WIDE, "num_layers": 2, "in_channels": 64, "out_channels": 16, "joint_attention_dim": 16}
    transformer = diffusers.QwenImageTransformer2DModel(**shape, axes_dims_rope=(4, 6, 6))
    text = {**LANGUAGE, "num_hidden_layers": 1, "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}}
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 16}
    config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision)
    autoencoder = diffusers.AutoencoderKLQwenImage(base_dim=8, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
    text_encoder = transformers.Qwen2_5_VLForConditionalGeneration(config)
    return diffusers.QwenImagePipeline(flow(), autoencoder, text_encoder, words(), transformer)


def z_image() -> diffusers.ZImagePipeline:
    torch.manual_seed(0)
    shape = {"in_channels": 4, "dim": 32, "n_layers": 1, "n_refiner_layers": 1, "n_heads": 2, "n_kv_heads": 2}
    axes = {"axes_dims": [4, 6, 6], "axes_lens": [512, 64, 64]}
    transformer = diffusers.ZImageTransformer2DModel(**shape, **axes, cap_feat_dim=16)
    torch.nn.init.normal_(transformer.x_pad_token)
    torch.nn.init.normal_(transformer.cap_pad_token)
    return diffusers.ZImagePipeline(flow(shift=3.0), vae(shift_factor=0.1), qwen3(), words(), transformer)


def stable_diffusion_3_5() -> diffusers.StableDiffusion3Pipeline:
    """Its blocks have a second attention and normalized queries and keys; with its third text encoder."""
    made = stable_diffusion_3()
    torch.manual_seed(0)
    shape = {**made.transformer.config, "qk_norm": "rms_norm", "dual_attention_layers": (0,)}
    made.register_modules(
        transformer=diffusers.SD3Transformer2DModel.from_config({**shape, "joint_attention_dim": 32}),
        text_encoder_3=t5(32),
        tokenizer_3=words(),
    )
    return made


def sdxl_turbo() -> diffusers.StableDiffusionXLPipeline:
    """One step, without guidance, of a scheduler that adds noise."""
    made = stable_diffusion_xl()
    made.register_modules(scheduler=diffusers.EulerAncestralDiscreteScheduler(timestep_spacing="trailing"))
    return made


EDITING = {"flux-kontext": flux_kontext}
MODERN = {  # draw from a prompt
    "sdxl-turbo": sdxl_turbo,
    "sd3.5": stable_diffusion_3_5,
    "flux": flux,
    "flux-schnell": lambda: flux(guidance_embeds=False),
    "flux2-klein": flux_2,
    "pixart-sigma": pixart_sigma,
    "sana": sana,
    "lumina2": lumina_2,
    "qwen-image": qwen_image,
    "z-image": z_image,
}
