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
from denoising import DROPPED, SCHEDULE, VARIANTS, build, encode_images, on_cpu, v_loss
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from images import WILD, captions, load_split, shares
from loop import train
from torch import Tensor
from train_clip import load_text_encoder, tokens_of
from transformers import CLIPTextModel, CLIPTokenizer

from genrobust.data.readers.pictograms import load_pictograms

CHANNELS = (128, 144)  # 7.8 M parameters
SEED = 3  # of the first weights, the batches and the noise
CLASS_ONLY = 0.08  # of the captions name the class alone


@torch.inference_mode()
def encode_texts(encoder: CLIPTextModel, tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Last hidden states [N, 24, 128], as StableDiffusionPipeline makes them."""
    ids = tokens_of(tokenizer, texts)["input_ids"]
    return torch.cat([encoder(input_ids=part).last_hidden_state for part in ids.split(256)]).clone()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--clip", type=Path, required=True, help="train_clip.py's output, or a diffusers folder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--from", dest="start", type=Path)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--batch-size", type=int, default=64)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    data = load_pictograms()
    prompts = [c.prompt for c in data.labels.classes]
    images, labels, styles = load_split(data.retrieval)
    style_of = np.array([WILD.index(s) for s in styles])
    vae = AutoencoderKL.from_pretrained(args.vae).eval().to(memory_format=torch.channels_last)
    latents = encode_images(vae, images, args.out / "latents.npy")
    encoder, tokenizer = load_text_encoder(args.clip)
    groups = [captions(p, s) for p in prompts for s in (*WILD, None)]  # a list of captions a (class, style or none)
    texts = [""] + [t for group in groups for t in group]
    first = np.cumsum([1] + [len(group) for group in groups])
    hidden = encode_texts(encoder.eval(), tokenizer, texts)
    torch.manual_seed(SEED)
    unet = on_cpu(UNet2DConditionModel.from_pretrained(args.start) if args.start else build(CHANNELS))
    size = sum(p.numel() for p in unet.parameters()) / 1e6
    print(f"{len(images)} images, {len(texts)} captions, {size:.2f} M parameters", flush=True)
    schedule = DDPMScheduler(**SCHEDULE)
    weight = shares(labels, style_of)

    def loss_of(model: UNet2DConditionModel, step: int, g: torch.Generator) -> dict[str, Tensor]:
        n = args.batch_size
        pick = torch.multinomial(weight, n, replacement=True, generator=g).numpy()
        z = latents[torch.randint(VARIANTS, (n,), generator=g).numpy(), pick].float()
        u, draw = torch.rand(n, generator=g).numpy(), torch.randint(1 << 30, (n,), generator=g).numpy()
        group = labels[pick] * (len(WILD) + 1) + np.where(u < DROPPED + CLASS_ONLY, len(WILD), style_of[pick])
        caption = first[group] + draw % (first[group + 1] - first[group])
        return v_loss(model, schedule, z, hidden[np.where(u < DROPPED, 0, caption)], g)

    unet = train(unet, loss_of, steps=args.steps, folder=args.out, lr=1e-3, warmup=300, ema_decay=0.9995, seed=SEED)
    unet.save_pretrained(args.out / "unet")


if __name__ == "__main__":
    main()
