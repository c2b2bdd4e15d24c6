"""Train the image-conditioned UNet of the Pictograms variation generator on *wild*, in the shipped VAE's latents.

    python pictograms/train_variation.py --vae src/genrobust/assets/generator/vae --clip build/vision/clip \
        --out build/variation

The condition is one token: the CLIP embedding of an image as StableDiffusionImageVariationPipeline computes it, not
normalized; zeros are the unconditional input of guidance.

In a study the condition is a real outline drawing by a designer that this model has not seen, and a classifier shall
learn the class from the generated images. A copy of the source adds nothing. So in half of the steps the condition is
another drawing than the target: any *outline* drawing of its class, while the target has any style. From an outline
drawing the model then generates the class in all styles (about three fifths of its images are no outline drawings).
Some twenty sources share each target, so an embedding does not identify one drawing to repeat. In the other half the
condition is the target itself, with another augmentation: this keeps the information of an embedding beyond the class,
such as color and composition, without which the mode would be class-conditional.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from denoising import DROPPED, SCHEDULE, VARIANTS, build, encode_images, on_cpu, v_loss, variants
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from images import WILD, load_split, shares
from loop import train
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from genrobust.data.readers.pictograms import load_pictograms

CHANNELS = (96, 112)  # 4.6 M parameters
ANOTHER = 0.5  # of the targets are drawn from another drawing of their class
SOURCE = "outline"  # the style of the real drawings that a study conditions on


@torch.inference_mode()
def embed(encoder: CLIPVisionModelWithProjection, images: np.ndarray) -> Tensor:
    """Image embeddings [VARIANTS, N, 128] of the `variants` whose latents `encode_images` makes, in their order.

    The same as the pipeline's: the CLIP's image processor takes [0, 255] to [-1, 1] too, and leaves 64 px whole.
    """
    out = torch.empty(VARIANTS, len(images), encoder.config.projection_dim)
    for k, places, x in variants(images):
        out[k, places] = encoder(x).image_embeds
    return out


class Sources:
    """The drawings that a target may be drawn from: those of its class in the style `SOURCE`."""

    def __init__(self, labels: np.ndarray, styles: list[str]) -> None:
        places = np.flatnonzero(np.array(styles) == SOURCE)
        self._places = places[np.argsort(labels[places], kind="stable")]
        self._counts = np.bincount(labels[places], minlength=labels.max() + 1)
        assert self._counts.min() > 0, f"every class has {SOURCE} drawings"
        self._first = np.cumsum(self._counts) - self._counts

    def draw(self, labels: np.ndarray, g: torch.Generator) -> np.ndarray:
        """The place of a source for a target of each of `labels` [B]."""
        draw = torch.randint(1 << 30, (len(labels),), generator=g).numpy()
        return self._places[self._first[labels] + draw % self._counts[labels]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--clip", type=Path, required=True, help="the CLIP folder of train_vision.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--from", dest="start", type=Path, help="the UNet's folder of an earlier training")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--batch-size", type=int, default=64)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    images, labels, styles = load_split(load_pictograms().retrieval)
    vae = AutoencoderKL.from_pretrained(args.vae).eval().to(memory_format=torch.channels_last)
    latents = encode_images(vae, images, args.out / "latents.npy")
    embeddings = embed(CLIPVisionModelWithProjection.from_pretrained(args.clip).eval(), images)
    torch.manual_seed(0)
    unet = on_cpu(UNet2DConditionModel.from_pretrained(args.start) if args.start else build(CHANNELS))
    print(f"{len(images)} images, {sum(p.numel() for p in unet.parameters()) / 1e6:.2f} M parameters", flush=True)
    schedule = DDPMScheduler(**SCHEDULE)
    weight = shares(labels, np.array([WILD.index(s) for s in styles]))
    sources = Sources(labels, styles)

    def loss_of(model: UNet2DConditionModel, step: int, g: torch.Generator) -> dict[str, Tensor]:
        n = args.batch_size
        target = torch.multinomial(weight, n, replacement=True, generator=g).numpy()
        z = latents[torch.randint(VARIANTS, (n,), generator=g).numpy(), target].float()
        another = torch.rand(n, generator=g).numpy() < ANOTHER
        source = np.where(another, sources.draw(labels[target], g), target)
        context = embeddings[torch.randint(VARIANTS, (n,), generator=g).numpy(), source]
        context[torch.rand(n, generator=g) < DROPPED] = 0
        return v_loss(model, schedule, z, context[:, None], g)

    unet = train(unet, loss_of, steps=args.steps, folder=args.out, lr=1e-3, warmup=300, ema_decay=0.9995, seed=5)
    unet.save_pretrained(args.out / "unet")


if __name__ == "__main__":
    main()
