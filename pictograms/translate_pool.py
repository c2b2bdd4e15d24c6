"""Draw labeled icons of *wild* again in other styles, as many of each class in each: also where *wild* has none.

    python pictograms/translate_pool.py --translation build/translation/pipeline --out build/translated-pool

Each icon is made from one of its class in another style, by the pipeline of train_translation.py. Its five styles are
drawn equally often, with the settings of the recipe `translated`. One folder for each class.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionInstructPix2PixPipeline, UniPCMultistepScheduler
from images import WILD, captions
from train_translation import THING

from genrobust.data.readers.pictograms import load_pictograms

STYLES = WILD[:5]  # of which there are pairs
EACH = 8  # of a class in a style
BATCH = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--translation", type=Path, required=True, help="the pipeline's folder")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    args = parser.parse_args()
    pipeline = StableDiffusionInstructPix2PixPipeline.from_pretrained(args.translation)
    pipeline.scheduler = UniPCMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    data = load_pictograms()
    pool, ids = data.retrieval, data.labels.ids
    assert pool is not None
    styles, rng = np.array(pool.styles), np.random.default_rng(0)
    args.out.mkdir(parents=True)
    wanted = []
    for label, name in enumerate(ids):
        for style in STYLES:
            others = np.flatnonzero((pool.labels == label) & (styles != style))
            prompts = captions(THING, style)
            sources = rng.choice(others, EACH, replace=len(others) < EACH)
            wanted += [
                (f"{name}/{style}-{k}.png", prompts[k % len(prompts)], int(source)) for k, source in enumerate(sources)
            ]
    for start in range(0, len(wanted), BATCH):
        files, prompts, sources = zip(*wanted[start : start + BATCH], strict=True)
        noise = [torch.Generator().manual_seed(start + k) for k in range(len(files))]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            images = pipeline(
                list(prompts), [pool.image(i) for i in sources], generator=noise, num_inference_steps=4,
                guidance_scale=3.0, image_guidance_scale=1.5,
            ).images  # fmt: skip
        for file, image in zip(files, images, strict=True):
            (args.out / file).parent.mkdir(parents=True, exist_ok=True)
            image.save(args.out / file)
        print(f"{start + len(files)} of {len(wanted)}", flush=True)


if __name__ == "__main__":
    main()
