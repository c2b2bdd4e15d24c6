"""Shared by the trainings of the UNets: the images, their augmented latents, and the loss of a step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from images import batch_augment
from torch import Tensor

SCHEDULE = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction", "num_train_timesteps": 1000}
DROPPED = 0.12  # of the conditions are empty: what guidance steers away from
VARIANTS = 8  # augmented latents kept of each image: encoding on the fly would cost half of the time
MIN_SNR = 5.0
ENCODED = 128  # images at once


def build(channels: tuple[int, int]) -> UNet2DConditionModel:
    """An untrained UNet: two levels (8x8, 4x4) of so many channels, cross-attention in both."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=12,
        out_channels=12,
        block_out_channels=channels,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=128,
        attention_head_dim=4,  # the number of heads, by diffusers' historical naming
        norm_num_groups=16,
    )


def on_cpu(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """`unet` in the layout and with the attention that train fastest there."""
    unet = unet.float().to(memory_format=torch.channels_last)
    unet.set_attn_processor(AttnProcessor())  # on 64 tokens the CPU's fused attention takes longer to go backward
    return unet


def variants(images: np.ndarray) -> Iterator[tuple[int, slice, Tensor]]:
    """The images as they are, then `VARIANTS` - 1 times augmented, the same at every call.

    Batch by batch: the variant's number, the images' places, and [B, 3, 64, 64] in [-1, 1].
    """
    for k in range(VARIANTS):
        for i in range(0, len(images), ENCODED):
            g = torch.Generator().manual_seed(k * 1_000_003 + i)
            batch = images[i : i + ENCODED]
            x = batch_augment(batch, g) if k else torch.from_numpy(batch).permute(0, 3, 1, 2) / 127.5 - 1
            yield k, slice(i, i + len(batch)), x


@torch.inference_mode()
def encode_images(vae: AutoencoderKL, images: np.ndarray, file: Path) -> Tensor:
    """Latents fp16 [VARIANTS, N, 12, 8, 8] of the `variants` of the images, kept in `file`."""
    if not file.exists():
        out = np.empty((VARIANTS, len(images), 12, 8, 8), np.float16)
        for k, places, x in variants(images):
            if places.start == 0:
                print(f"latents {k + 1}/{VARIANTS}", flush=True)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                z = vae.encode(x.contiguous(memory_format=torch.channels_last)).latent_dist.mean
            out[k, places] = z.float().numpy() * vae.config.scaling_factor
        np.save(file, out)
    return torch.from_numpy(np.load(file))


def v_loss(
    unet: UNet2DConditionModel, schedule: DDPMScheduler, z: Tensor, context: Tensor, g: torch.Generator
) -> dict[str, Tensor]:
    """The loss of the latents `z` [B, 12, 8, 8] under the conditions `context` [B, tokens, 128], noised by `g`.

    v-prediction (Salimans and Ho 2022) with Min-SNR weights (Hang et al. 2023); beside it the error without weights.
    """
    t = torch.randint(1000, (len(z),), generator=g)
    noise = torch.randn(z.shape, generator=g)
    noisy = schedule.add_noise(z, noise, t).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        v = unet(noisy, t, context).sample
    error = (v.float() - schedule.get_velocity(z, noise, t)).square().mean((1, 2, 3))
    signal = schedule.alphas_cumprod[t]
    snr = signal / (1 - signal)
    return {"loss": (error * snr.clamp(max=MIN_SNR) / (snr + 1)).mean() * 2, "v_mse": error.mean()}
