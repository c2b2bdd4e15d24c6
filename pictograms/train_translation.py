"""Train a UNet that draws an icon again in another style, and write it as an InstructPix2Pix pipeline.

    python pictograms/train_translation.py --package path/to/package --out build/translation

The UNet learns from pairs of one drawing in two styles by a family of *wild*, of any thing, and from no label: captions
name the style alone. The latents of the one are added to the noisy ones of the other as further channels
(InstructPix2Pix, Brooks et al. 2023, arXiv:2211.09800). There are no such pairs for pixel art and hand-drawn icons.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, permutations
from pathlib import Path

import numpy as np
import torch
import yaml
from assemble import ASSETS, half_unet, half_vae, save, scheduler
from corpus import in_parallel
from denoising import DROPPED, SCHEDULE, VARIANTS, build, encode_images, on_cpu, v_loss
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionInstructPix2PixPipeline, UNet2DConditionModel
from drawings import HERE, load_classes, style_of, to_svg
from images import WILD, captions
from loop import train
from scipy.ndimage import binary_fill_holes
from torch import Tensor
from train_clip import load_text_encoder
from train_unet import CHANNELS, encode_texts

# Sets of one family in which a name is one drawing; within a set, names that differ by their style alone are one.
TOGETHER = [
    {"fluent-emoji", "fluent-emoji-flat", "fluent-emoji-high-contrast"},
    *({name, f"{name}-color"} for name in ("streamline", "streamline-flex", "streamline-plump", "streamline-sharp",
                                           "streamline-ultimate", "streamline-cyber")),
]  # fmt: skip
SAME = 0.6  # intersection over union of two silhouettes from which they are taken for one drawing
MOST = 2500  # pairs of a style that is asked for; all five have as many, so that none is learned better
THING = "thing"  # in captions, in the place of a class


def pairs(package: Path) -> tuple[np.ndarray, list[tuple[int, int, str]]]:
    """All drawings that have a pair, uint8 [N, 64, 64, 3], and the pairs: source, target, and the target's style."""
    families = yaml.safe_load((HERE / "families.yaml").read_text())["families"]
    drawn: dict[tuple[str, str, str], list[tuple[str, str, str]]] = defaultdict(list)
    for family, spec in families.items():
        if spec["side"] != "wild":
            continue
        for set_id, affixes in spec["sets"].items():
            data = json.loads((package / "json" / f"{set_id}.json").read_text())
            group = next((min(sets) for sets in TOGETHER if set_id in sets), set_id)
            for name, icon in data["icons"].items():
                style, base = style_of(name, affixes)
                if style != "drop":
                    drawn[family, group, base].append((f"{set_id}--{name}", style, to_svg(icon, data)))
    several = {key: made for key, made in drawn.items() if len({style for _, style, _ in made}) > 1}
    with ProcessPoolExecutor() as pool:
        pixels = dict(in_parallel(pool, [(key, svg) for made in several.values() for key, _, svg in made]))
    found = []
    for _, made in sorted(several.items()):
        for (one, style, _), (other, wanted, _) in permutations(made, 2):
            if style != wanted and one in pixels and other in pixels and alike(pixels[one], pixels[other]):
                found.append((one, other, wanted))
    kept = []
    for style in WILD:
        of_style = [pair for pair in found if pair[2] == style]
        of_style.sort(key=lambda pair: hashlib.sha256("/".join(pair[:2]).encode()).digest())
        kept += of_style[:MOST]
    number = {key: i for i, key in enumerate(sorted({key for pair in kept for key in pair[:2]}))}
    return np.stack([pixels[key] for key in number]), [(number[one], number[other], of) for one, other, of in kept]


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the silhouettes of two drawings are nearly the same."""
    a, b = (binary_fill_holes(image.min(axis=2) < 250) for image in (one, other))
    return bool((a & b).sum() >= SAME * (a | b).sum())


class Translating(torch.nn.Module):
    """The UNet as `v_loss` calls it: the sources [B, 12, 8, 8] of a batch beside the noisy latents."""

    def __init__(self, unet: UNet2DConditionModel, source: Tensor) -> None:
        super().__init__()
        self.unet, self.source = unet, source

    def forward(self, noisy: Tensor, t: Tensor, context: Tensor):
        both = torch.cat([noisy, self.source], dim=1).contiguous(memory_format=torch.channels_last)
        return self.unet(both, t, context)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, required=True, help="the unpacked npm package @iconify/json")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch-size", type=int, default=64)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    base = ASSETS / "generator"
    classes = [c["id"] for c in load_classes()]
    drawn, found = pairs(args.package)
    by_target = Counter(pair[2] for pair in found)
    print(f"{len(found)} pairs of {len(drawn)} drawings, by target {dict(by_target)}", flush=True)
    vae = AutoencoderKL.from_pretrained(base / "vae").eval().to(memory_format=torch.channels_last)
    sources, targets = (np.array([pair[side] for pair in found]) for side in (0, 1))
    # In one order, so that a variant moves, mirrors and recolors both of a pair alike.
    before, after = (
        encode_images(vae, drawn[side], args.out / f"{name}.npy")
        for name, side in (("sources", sources), ("targets", targets))
    )
    encoder, tokenizer = load_text_encoder(base)
    texts = [captions(THING, style) for style in by_target]
    (args.out / "prompts.json").write_text(json.dumps({c: list(chain(*texts)) for c in classes}))
    hidden = encode_texts(encoder.eval(), tokenizer, ["", *chain(*texts)])
    torch.manual_seed(5)
    unet = on_cpu(build(CHANNELS, sources=True))
    schedule = DDPMScheduler(**SCHEDULE)
    wanted = np.array([list(by_target).index(pair[2]) for pair in found])
    weight = torch.from_numpy(1 / np.sqrt(np.bincount(wanted)[wanted]))

    def loss_of(model: UNet2DConditionModel, step: int, g: torch.Generator) -> dict[str, Tensor]:
        n = args.batch_size
        pair = torch.multinomial(weight, n, replacement=True, generator=g).numpy()
        variant = torch.randint(VARIANTS, (n,), generator=g).numpy()
        source = before[variant, pair].float()
        source[torch.rand(n, generator=g) < DROPPED] = 0
        u, draw = torch.rand(n, generator=g).numpy(), torch.randint(1 << 30, (n,), generator=g).numpy()
        caption = 1 + wanted[pair] * len(texts[0]) + draw % len(texts[0])  # each style has as many captions
        context = hidden[np.where(u < DROPPED, 0, caption)]
        return v_loss(Translating(model, source), schedule, after[variant, pair].float(), context, g)

    unet = train(unet, loss_of, steps=args.steps, folder=args.out, lr=1e-3, warmup=200, ema_decay=0.999, seed=5)
    unet.save_pretrained(args.out / "unet")
    pipeline = StableDiffusionInstructPix2PixPipeline(
        vae=half_vae(base / "vae"),
        text_encoder=encoder,
        tokenizer=tokenizer,
        unet=half_unet(args.out / "unet"),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    save(pipeline, args.out / "pipeline")


if __name__ == "__main__":
    main()
