"""What the weights of published generators take, as a Markdown table; nothing is fetched, and no memory is needed.

    python benchmarks/weights.py

The networks are built without their numbers, from the configurations that their authors published, as diffusers'
conversion scripts and defaults have them. What an image takes beside the weights is not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import diffusers
import torch
import transformers
from full_size import CLIP_G, CLIP_L, SD15, SDXL, TOKENS, VAE, WORDS, unet_of
from torch import nn

BYTES = 2  # of float16 and bfloat16
Network = Callable[[], nn.Module]


def clip(projected: bool = False, **size: int) -> nn.Module:
    made = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return made(transformers.CLIPTextConfig(vocab_size=WORDS, max_position_embeddings=TOKENS, **size))


def t5() -> nn.Module:
    size = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
    return transformers.T5EncoderModel(
        transformers.T5Config(vocab_size=32_128, **size, feed_forward_proj="gated-gelu", is_encoder_decoder=False)
    )


def gemma2() -> nn.Module:
    return transformers.Gemma2Model(transformers.Gemma2Config())  # whose defaults are those of its 2B


def qwen3() -> nn.Module:
    heads = {"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}
    size = {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "vocab_size": 151_936}
    return transformers.Qwen3Model(transformers.Qwen3Config(**size, **heads))


def qwen2_5_vl() -> nn.Module:
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584}
    heads = {"num_attention_heads": 28, "num_key_value_heads": 4}
    text = {"hidden_size": 3584, "intermediate_size": 18_944, "num_hidden_layers": 28, "vocab_size": 152_064, **heads}
    config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False)
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def vae(channels: int = 4, quantized: bool = True) -> nn.Module:
    more = {"latent_channels": channels, "use_quant_conv": quantized, "use_post_quant_conv": quantized}
    return diffusers.AutoencoderKL(**VAE, **more)


def dc_ae() -> nn.Module:
    blocks = ("ResBlock",) * 3 + ("EfficientViTBlock",) * 3
    return diffusers.AutoencoderDC(encoder_block_types=blocks, decoder_block_types=blocks)


def sd21() -> nn.Module:
    heads = {"attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True}
    return diffusers.UNet2DConditionModel(sample_size=96, cross_attention_dim=1024, **heads)


def sd35(heads: int, layers: int, **more: Any) -> nn.Module:
    size = {"num_layers": layers, "num_attention_heads": heads, "caption_projection_dim": 64 * heads}
    return diffusers.SD3Transformer2DModel(**size, qk_norm="rms_norm", **more)


def pixart() -> nn.Module:
    return diffusers.PixArtTransformer2DModel(caption_channels=4096, use_additional_conditions=False)


def klein() -> nn.Module:
    size = {"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24, "joint_attention_dim": 7680}
    return diffusers.Flux2Transformer2DModel(**size, guidance_embeds=False)


VIT_H = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16}
CLIPS: Sequence[Network] = (
    partial(clip, projected=True, **CLIP_L, projection_dim=768),
    partial(clip, projected=True, **CLIP_G, projection_dim=1280),
)
SD3_VAE = partial(vae, 16, quantized=False)
# The network of each step, the text encoders, and the autoencoder.
GENERATORS: Mapping[str, tuple[Network, Sequence[Network], Network]] = {
    "SD 1.5": (partial(unet_of, SD15), [partial(clip, **CLIP_L)], vae),
    "SD 2.1": (sd21, [partial(clip, **VIT_H)], vae),
    "SDXL, SDXL Turbo": (partial(unet_of, SDXL), [partial(clip, **CLIP_L), CLIPS[1]], vae),
    "SD 3.5 medium": (
        partial(sd35, 24, 24, pos_embed_max_size=384, dual_attention_layers=tuple(range(13))),
        [*CLIPS, t5],
        SD3_VAE,
    ),
    "SD 3.5 large": (partial(sd35, 38, 38, pos_embed_max_size=192), [*CLIPS, t5], SD3_VAE),
    "FLUX.1 dev, schnell": (
        partial(diffusers.FluxTransformer2DModel, guidance_embeds=True),
        [partial(clip, **CLIP_L), t5],
        SD3_VAE,
    ),
    "FLUX.2 klein 4B": (klein, [qwen3], diffusers.AutoencoderKLFlux2),
    "PixArt-Sigma": (pixart, [t5], vae),
    "Sana 1.6B": (diffusers.SanaTransformer2DModel, [gemma2], dc_ae),
    "Lumina 2": (partial(diffusers.Lumina2Transformer2DModel, cap_feat_dim=2304), [gemma2], SD3_VAE),
    "Qwen-Image": (diffusers.QwenImageTransformer2DModel, [qwen2_5_vl], diffusers.AutoencoderKLQwenImage),
    "Z-Image Turbo": (diffusers.ZImageTransformer2DModel, [qwen3], SD3_VAE),
}


def parameters(network: Network) -> int:
    with torch.device("meta"):  # shapes alone: no memory, no time
        return sum(weight.numel() for weight in network().parameters())


def row(name: str) -> str:
    """The row of a generator: its billions of parameters, and the GB of its weights."""
    network, texts, decoder = GENERATORS[name]
    drawing, reading = parameters(network), sum(map(parameters, texts))
    total = drawing + reading + parameters(decoder)
    return f"| {name} | {drawing / 1e9:.2f} | {reading / 1e9:.2f} | {BYTES * total / 1e9:.1f} |"


def main() -> None:
    print("| model | network, billions | text encoders, billions | weights in 16 bits, GB |\n| --- | --- | --- | --- |")
    for name in GENERATORS:
        print(row(name))


if __name__ == "__main__":
    main()
