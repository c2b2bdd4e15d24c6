"""Train the autoencoder of the Pictograms generator: 64x64x3 images to 8x8x12 latents and back.

    python pictograms/train_vae.py --corpus build/corpus.npy --out build/vae

The corpus has drawings of the *wild* families, of any class (`corpus.py`): an autoencoder needs no labels. The squared
error has a higher weight on chroma, which keeps colors: with an absolute error, the output stays gray.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from loop import train
from torch import Tensor

from genrobust.generate.train.objective import in_range

LATENT_CHANNELS = 12  # 768 numbers an image: enough for crisp lines, few enough to generate
COLOR_SHARE = 0.5  # colored drawings are a third of the corpus and the harder half
CHROMA_WEIGHT = 4.0  # of the squared error of (image - its channel mean)
KL_WEIGHT = 2e-4  # per latent element, beside a mean squared error of about 2e-3


def build() -> AutoencoderKL:
    """The untrained autoencoder, 1.7 M parameters."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 96),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
    )


def augment(x: Tensor, g: torch.Generator) -> Tensor:
    """Mirror, turn, move, zoom and recolor a batch of images [B, 3, 64, 64] in [-1, 1], white outside."""
    n = len(x)
    angle = torch.randint(0, 4, (n,), generator=g) * (torch.pi / 2)
    flip = torch.randint(0, 2, (n,), generator=g) * 2.0 - 1
    zoom = 1 / (0.75 + 0.4 * torch.rand(n, generator=g))
    shift = (torch.rand(n, 2, generator=g) - 0.5) * 0.25
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    theta = torch.stack(
        [torch.stack([cos * flip, -sin, shift[:, 0]], 1), torch.stack([sin * flip, cos, shift[:, 1]], 1)], 1
    )
    moved = torch.rand(n, generator=g) < 0.5
    theta[~moved] = torch.eye(2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    x = F.grid_sample(x - 1, grid, align_corners=False) + 1  # zero padding of (x - 1) is white
    order = torch.rand(n, 3, generator=g).argsort(1)
    order[torch.rand(n, generator=g) < 0.5] = torch.arange(3)
    return torch.gather(x, 1, order[:, :, None, None].expand_as(x))


@torch.inference_mode()
def whiten(vae: AutoencoderKL, images: np.ndarray) -> None:
    """Give every latent channel zero mean and unit variance over `images`, by folding that into the 1x1 convolutions.

    StableDiffusionPipeline knows one scaling factor for all channels and no shift; after this the factor is 1.
    """
    pick = torch.randint(len(images), (2048,), generator=torch.Generator().manual_seed(0)).numpy()
    x = in_range(torch.from_numpy(images[np.sort(pick)]).permute(0, 3, 1, 2))
    z = torch.cat([vae.encode(b).latent_dist.mean for b in x.split(128)])
    mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3))
    into, back = vae.quant_conv, vae.post_quant_conv
    scale = torch.cat([1 / std, torch.ones_like(std)])  # of the 12 means and of the 12 log variances
    shift = torch.cat([-mean / std, -2 * std.log()])
    into.weight.mul_(scale[:, None, None, None])
    into.bias.mul_(scale).add_(shift)
    back.bias.add_((back.weight[:, :, 0, 0] * mean).sum(1))
    back.weight.mul_(std[None, :, None, None])
    vae.register_to_config(scaling_factor=1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="uint8 [N, 64, 64, 3] .npy")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch-size", type=int, default=32)
    args = parser.parse_args()
    images = np.load(args.corpus, mmap_mode="r")
    chroma = np.array([np.ptp(i[::4, ::4].astype(np.int16), axis=2).max() > 24 for i in images])
    color, gray = torch.from_numpy(np.flatnonzero(chroma)), torch.from_numpy(np.flatnonzero(~chroma))
    print(f"{len(images)} images, {len(color)} of them colored", flush=True)
    model = build().to(memory_format=torch.channels_last)

    def loss_of(vae: AutoencoderKL, step: int, g: torch.Generator) -> dict[str, Tensor]:
        n = round(args.batch_size * COLOR_SHARE)
        pick = torch.cat(
            [
                color[torch.randint(len(color), (n,), generator=g)],
                gray[torch.randint(len(gray), (args.batch_size - n,), generator=g)],
            ]
        )
        x = in_range(torch.from_numpy(images[pick.numpy()]).permute(0, 3, 1, 2))
        x = augment(x, g).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            posterior = vae.encode(x).latent_dist
            decoded = vae.decode(posterior.sample()).sample
        error = decoded.float() - x
        mse = error.square().mean()
        chroma_mse = (error - error.mean(1, keepdim=True)).square().mean()
        kl = posterior.kl().float().mean() / (LATENT_CHANNELS * 64)
        return {"loss": mse + CHROMA_WEIGHT * chroma_mse + KL_WEIGHT * kl, "mse": mse, "chroma": chroma_mse, "kl": kl}

    vae = train(model, loss_of, steps=args.steps, folder=args.out, lr=2e-3, seed=1)
    whiten(vae, images)
    vae.save_pretrained(args.out / "vae")


if __name__ == "__main__":
    main()
