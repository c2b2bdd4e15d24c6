"""Speed of generation: genrobust against a diffusers pipeline in a loop, on the same requests.

    python benchmarks/generation.py             the speed table: about 4 minutes on 2 CPU cores

The plain variant is what a user would write, and what reference code does: the pipeline as loaded, called on 8 prompts
at a time, its images saved one by one as PNG. Both variants load the weights from disk each time and end with the
images on disk. Their float32 images are compared: they are equal except for rounding.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from side_by_side import cores, interleaved, rate, table, times_faster, use_cores, where_and_when

from genrobust.core import LabelSpace, Request
from genrobust.data import ShardDataset, load_data
from genrobust.generate import Generation, Plan, open_generated, plan_of
from genrobust.generate.mode import locate
from genrobust.generate.pipeline_config import DiffusersConfig
from genrobust.recipe import Recipe, load_recipe

PLAIN_BATCH = 8  # images at once, the plain way
FLOAT32, BFLOAT16 = ["generator.dtype=float32"], ["generator.dtype=bfloat16"]
MANY = ["generator.scheduler=dpmsolver++", "generator.steps=15"]  # what the recipe's few steps are held against
# The recipe's: chosen on wild-val, as the fastest that is within the noise of MANY.
FAST = ["generator.scheduler=unipc", "generator.steps=4"]


def generator_of(recipe: Recipe) -> DiffusersConfig:
    assert isinstance(recipe.generator, DiffusersConfig)
    return recipe.generator


def plain(requests: Sequence[Request], config: DiffusersConfig, device: str, out: Path) -> None:
    """Generate `requests` with a loop over a diffusers pipeline."""
    dtype = getattr(torch, config.dtype)
    pipeline = StableDiffusionPipeline.from_pretrained(locate(config)[1], torch_dtype=dtype).to(device)
    pipeline.set_progress_bar_config(disable=True)
    draw_plainly(pipeline, requests, config, out, PLAIN_BATCH)


def draw_plainly(
    pipeline: Any, requests: Sequence[Request], config: DiffusersConfig, out: Path, batch_size: int
) -> None:
    """Generate `requests` with a pipeline that is loaded, and save each image."""
    for start in range(0, len(requests), batch_size):
        some = requests[start : start + batch_size]
        images = pipeline(
            [request.prompt for request in some],
            num_inference_steps=config.steps,
            guidance_scale=config.guidance_scale,
            generator=[torch.Generator("cpu").manual_seed(request.seed) for request in some],
        ).images
        for request, image in zip(some, images, strict=True):
            (out / request.class_id).mkdir(parents=True, exist_ok=True)
            image.save(out / request.class_id / f"{request.key}.png")


def ours(plan: Plan, recipe: Recipe, device: str, out: Path) -> ShardDataset:
    """Generate the same with genrobust."""
    job = Generation(plan, generator_of(recipe), recipe.generate, out, device, recipe.threads)
    with job.claimed() as missing:
        job.load()(missing)
        return open_generated(out)


@contextmanager
def fresh() -> Iterator[Path]:
    """A new temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name) / "images"


def into_fresh(way: Callable[[Path], object]) -> None:
    with fresh() as out:
        way(out)


def farthest(plan: Plan, recipe: Recipe, device: str) -> tuple[int, float]:
    """The largest difference between the images of both variants, of 255 levels, and the share of differing values."""
    with fresh() as one, fresh() as other:
        plain(list(plan), generator_of(recipe), device, one)
        dataset = ours(plan, recipe, device, other)
        pairs = zip(plan, map(dataset.image, range(len(dataset))), strict=True)
        differ = [
            abs(np.asarray(Image.open(one / r.class_id / f"{r.key}.png"), int) - np.asarray(image, int))
            for r, image in pairs
        ]
    return int(np.max(differ)), float(np.mean([d > 0 for d in differ]))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100, help="that each variant generates in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def main() -> None:
    asked = options()
    use_cores(2)
    base = [f"threads={cores()}", f"device={asked.device}"]
    ways = (MANY + BFLOAT16, MANY + FLOAT32, FAST + BFLOAT16)
    many, exact, fast = (load_recipe("pictograms", [*base, *more]) for more in ways)
    data = load_data(many.data)
    labels = LabelSpace(data.labels.classes[: asked.images])
    generate = many.generate.model_copy(update={"per_class": max(1, asked.images // len(labels))})
    plan = plan_of(generator_of(many), generate, labels, data.train, many.data_seed)
    requests = list(plan)
    draws: dict[str, Callable[[Path], object]] = {
        "plain, float32": partial(plain, requests, generator_of(exact), asked.device),
        "plain, bfloat16": partial(plain, requests, generator_of(many), asked.device),
        "genrobust, float32": partial(ours, plan, exact, asked.device),
        "genrobust, bfloat16": partial(ours, plan, many, asked.device),
        "genrobust, bfloat16, scheduler=unipc steps=4 (as in the recipe)": partial(ours, plan, fast, asked.device),
    }
    seconds = interleaved({name: partial(into_fresh, variant) for name, variant in draws.items()}, asked.rounds)
    base32, base16 = seconds["plain, float32"], seconds["plain, bfloat16"]
    rows = [
        [name, rate(len(requests), s), times_faster(s, base32), times_faster(s, base16)] for name, s in seconds.items()
    ]
    print(table(["variant", "images/s", "times plain, float32", "times plain, bfloat16"], rows))
    print(f"\n{where_and_when()}; {len(requests)} images a round, {asked.rounds} rounds; spread over rounds.")
    levels, differ = farthest(plan, exact, asked.device)
    print(f"In float32 the images differ by at most {levels} of 255 levels, in {100 * differ:.4f} % of the values.")


if __name__ == "__main__":
    main()
