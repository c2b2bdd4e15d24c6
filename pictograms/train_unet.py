"""Train the text-to-image UNet of the Pictograms generator on *wild*, in the latents of the frozen autoencoder.

    python pictograms/train_unet.py --vae build/vae/vae --clip build/clip --out build/unet

v-prediction (Salimans and Ho 2022) on a cosine schedule, Min-SNR weights (Hang et al. 2023), captions dropped for
classifier-free guidance (Ho and Salimans 2022). `--from` starts from the weights of an earlier UNet.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from images import WILD, batch_augment, captions, load_split
from loop import train
from torch import Tensor
from train_clip import tokens_of
from transformers import CLIPModel, CLIPTokenizer

from genrobust.sources.pictograms import load

SCHEDULE = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction", "num_train_timesteps": 1000}
DROPPED = 0.12  # of the captions are empty: what guidance steers away from
CLASS_ONLY = 0.08  # name the class alone
VARIANTS = 8  # augmented latents kept of each image: encoding on the fly would cost half of the time
MIN_SNR = 5.0


def build() -> UNet2DConditionModel:
    """The untrained UNet: two levels (8x8, 4x4), cross-attention in both; 7.8 M parameters."""
    channels = (128, 144)
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


@torch.inference_mode()
def encode_texts(clip: CLIPModel, tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Last hidden states [N, 24, 128], as StableDiffusionPipeline makes them."""
    ids = tokens_of(tokenizer, texts)["input_ids"]
    return torch.cat([clip.text_model(input_ids=part).last_hidden_state for part in ids.split(256)]).clone()


@torch.inference_mode()
def encode_images(vae: AutoencoderKL, images: np.ndarray, file: Path) -> Tensor:
    """Latents fp16 [VARIANTS, N, 12, 8, 8] of augmented images, kept in `file`."""
    if not file.exists():
        out = np.empty((VARIANTS, len(images), 12, 8, 8), np.float16)
        for k in range(VARIANTS):
            for i in range(0, len(images), 128):
                g = torch.Generator().manual_seed(k * 1_000_003 + i)
                batch = images[i : i + 128]
                x = batch_augment(batch, g) if k else torch.from_numpy(batch).permute(0, 3, 1, 2) / 127.5 - 1
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    z = vae.encode(x.contiguous(memory_format=torch.channels_last)).latent_dist.mean
                out[k, i : i + 128] = z.float().numpy() * vae.config.scaling_factor
            print(f"latents {k + 1}/{VARIANTS}", flush=True)
        np.save(file, out)
    return torch.from_numpy(np.load(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--clip", type=Path, required=True, help="train_clip.py's output")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--from", dest="start", type=Path)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--batch-size", type=int, default=64)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    data = load()
    prompts = [c.prompt for c in data.labels.classes]
    images, labels, styles = load_split(data.retrieval)
    style_of = np.array([WILD.index(s) for s in styles])
    vae = AutoencoderKL.from_pretrained(args.vae).eval().to(memory_format=torch.channels_last)
    latents = encode_images(vae, images, args.out / "latents.npy")
    clip = CLIPModel.from_pretrained(args.clip / "clip").eval()
    tokenizer = CLIPTokenizer.from_pretrained(args.clip / "tokenizer")
    groups = [captions(p, s) for p in prompts for s in (*WILD, None)]  # a list of captions a (class, style or none)
    texts = [""] + [t for group in groups for t in group]
    first = np.cumsum([1] + [len(group) for group in groups])
    hidden = encode_texts(clip, tokenizer, texts)
    unet = UNet2DConditionModel.from_pretrained(args.start) if args.start else build()
    unet = unet.float().to(memory_format=torch.channels_last)
    unet.set_attn_processor(AttnProcessor())  # on 64 tokens the CPU's fused attention takes longer to go backward
    size = sum(p.numel() for p in unet.parameters()) / 1e6
    print(f"{len(images)} images, {len(texts)} captions, {size:.2f} M parameters", flush=True)
    noise_schedule = DDPMScheduler(**SCHEDULE)
    signal = noise_schedule.alphas_cumprod
    weight = 1 / np.bincount(labels)[labels] / np.sqrt(np.bincount(style_of, minlength=len(WILD))[style_of])
    weight = torch.from_numpy(weight / weight.sum())

    def loss_of(model: UNet2DConditionModel, step: int, g: torch.Generator) -> dict[str, Tensor]:
        n = args.batch_size
        pick = torch.multinomial(weight, n, replacement=True, generator=g).numpy()
        z = latents[torch.randint(VARIANTS, (n,), generator=g).numpy(), pick].float()
        u, draw = torch.rand(n, generator=g).numpy(), torch.randint(1 << 30, (n,), generator=g).numpy()
        group = labels[pick] * (len(WILD) + 1) + np.where(u < DROPPED + CLASS_ONLY, len(WILD), style_of[pick])
        caption = first[group] + draw % (first[group + 1] - first[group])
        context = hidden[np.where(u < DROPPED, 0, caption)]
        t = torch.randint(1000, (n,), generator=g)
        noise = torch.randn(z.shape, generator=g)
        noisy = noise_schedule.add_noise(z, noise, t).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            v = model(noisy, t, context).sample
        error = (v.float() - noise_schedule.get_velocity(z, noise, t)).square().mean((1, 2, 3))
        snr = signal[t] / (1 - signal[t])
        return {"loss": (error * snr.clamp(max=MIN_SNR) / (snr + 1)).mean() * 2, "v_mse": error.mean()}

    unet = train(unet, loss_of, steps=args.steps, folder=args.out, lr=1e-3, warmup=300, ema_decay=0.9995, seed=3)
    unet.save_pretrained(args.out / "unet")


if __name__ == "__main__":
    main()
