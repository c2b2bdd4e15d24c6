"""Speed of generation: genrobust against a diffusers pipeline in a loop, on the same requests.

    python benchmarks/generation.py             the speed table: about 4 minutes on 2 CPU cores
    python benchmarks/generation.py --score     the value of images of few steps: about 40 minutes more
    python benchmarks/generation.py --few       how much faster two steps of the LoRA are, in this machine's precision
    python benchmarks/generation.py --profile   where the networks' time goes, as in profiles/generation.txt

The plain variant is what a user would write, and what reference code does: the pipeline as loaded, called on 8 prompts
at a time, its images saved one by one as PNG. Both variants load the weights from disk each time and end with the
images on disk. Their float32 images are compared: they are equal except for rounding. `--score` measures the
classification accuracy score of each sampling (Ravuri and Vinyals 2019): top-1 on real images of a classifier trained
on nothing else. It is measured on wild-val, which no study tests on; `--tests` adds the mean over the study's test
sets, only for the final choice.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from side_by_side import cores, interleaved, rate, table, times_faster, use_cores, where_and_when
from torch.utils.flop_counter import FlopCounterMode

from genrobust.classifiers.classifier import open_checkpoint
from genrobust.classifiers.predicting import predict_sets
from genrobust.classifiers.saved import PredictedBy
from genrobust.core.images import LabelSpace, Request
from genrobust.data.reader import load_data
from genrobust.data.shards import ShardDataset
from genrobust.generate import loading
from genrobust.generate.loading import load_generator
from genrobust.generate.mode import locate
from genrobust.generate.plan import Plan, plan_of
from genrobust.generate.run import Generation
from genrobust.recipe.classify import ArmConfig
from genrobust.recipe.generate import GeneratorConfig
from genrobust.recipe.load import Recipe, load_recipe
from genrobust.study.study import Study

PLAIN_BATCH = 8  # images at once, the plain way
FLOAT32, BFLOAT16 = ["generator.dtype=float32"], ["generator.dtype=bfloat16"]
MANY = ["generator.scheduler=dpmsolver++", "generator.steps=15"]  # what the recipe's few steps are held against
# The recipe's: chosen on wild-val by --score among CANDIDATES, as the fastest that is within the noise of MANY.
FAST = ["generator.scheduler=unipc", "generator.steps=4"]
# The LoRA of the package, in which four guided steps are distilled: two calls of the network in place of eight.
TWO_STEPS = [
    *("generator.lora=pictograms", "generator.scheduler=euler-trailing", "generator.steps=2"),
    "generator.guidance_scale=1",
]
CANDIDATES = [
    ["generator.scheduler=unipc", "generator.steps=4", "generator.guidance_until=0.25"],
    ["generator.scheduler=dpmsolver++", "generator.steps=4", "generator.guidance_until=0.25"],
    ["generator.scheduler=unipc", "generator.steps=5", "generator.guidance_until=0.4"],
    ["generator.scheduler=unipc", "generator.steps=5", "generator.guidance_until=0.4", "generator.guidance_scale=4.5"],
    ["generator.scheduler=unipc", "generator.steps=6", "generator.guidance_until=0.34"],
    FAST,
    ["generator.scheduler=unipc", "generator.steps=5"],
]
SCORED = ["train.steps=300", "generate.per_class=7"]  # of each class, for each seed: half of what a study trains on
SEEDS = (100, 101, 102)  # of data and training: none of the studies'


def plain(requests: Sequence[Request], config: GeneratorConfig, device: str, out: Path) -> None:
    """Generate `requests` with a loop over a diffusers pipeline."""
    dtype = getattr(torch, config.dtype)
    pipeline = StableDiffusionPipeline.from_pretrained(locate(config)[1], torch_dtype=dtype).to(device)
    pipeline.set_progress_bar_config(disable=True)
    draw_plainly(pipeline, requests, config, out, PLAIN_BATCH)


def draw_plainly(
    pipeline: Any, requests: Sequence[Request], config: GeneratorConfig, out: Path, batch_size: int
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
    assert recipe.generator is not None
    job = Generation(plan, recipe.generator, recipe.generate, plan.labels, out, device, recipe.threads)
    with job.claimed() as missing:
        job.load()(missing)
        return job.opened()


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
        plain(list(plan), recipe.generator, device, one)
        dataset = ours(plan, recipe, device, other)
        pairs = zip(plan, map(dataset.image, range(len(dataset))), strict=True)
        differ = [
            abs(np.asarray(Image.open(one / r.class_id / f"{r.key}.png"), int) - np.asarray(image, int))
            for r, image in pairs
        ]
    return int(np.max(differ)), float(np.mean([d > 0 for d in differ]))


def shares(plan: Plan, recipe: Recipe, device: str) -> str:
    """The shares of the time of one run of genrobust, in words."""
    spent: dict[str, float] = defaultdict(float)

    def timed(of: Any, name: str, what: str) -> Any:
        call = getattr(of, name)

        def clocked(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                spent[what] += time.perf_counter() - began

        return mock.patch.object(of, name, clocked)

    with fresh() as out, ExitStack() as patches:

        def loaded(*args: Any) -> Any:
            generator = load(*args)
            pipeline = generator.pipeline
            parts = ((pipeline.unet, "forward", "UNet"), (pipeline.vae, "decode", "VAE"))
            for of, name, what in (*parts, (pipeline, "encode_prompt", "prompts")):
                patches.enter_context(timed(of, name, what))
            return generator

        load = loading.load_generator
        patches.enter_context(mock.patch.object(loading, "load_generator", loaded))
        patches.enter_context(timed(loading, "load_generator", "loading"))
        began = time.perf_counter()
        ours(plan, recipe, device, out)
        drawing = time.perf_counter() - began - spent["loading"]
    share = {what: f"{100 * seconds / drawing:.1f} %" for what, seconds in spent.items()}
    return (
        f"{100 * (1 - (spent['UNet'] + spent['VAE']) / drawing):.1f} % of the time goes into neither the UNet "
        f"({share['UNet']}) nor the VAE ({share['VAE']}); {share['prompts']} of it into prompts. "
        f"{spent['loading']:.1f} s of loading come before."
    )


@torch.inference_mode()
def profile(config: GeneratorConfig, device: str, images: int = 32) -> str:
    """A profile of one guided step of the UNet, and of one decoding, for so many images, as text.

    On one thread, in CPU seconds, so that other load on the machine does not count.
    """
    torch.set_num_threads(1)
    pipeline = load_generator(config, torch.device(device)).pipeline
    unet, vae = pipeline.unet, pipeline.vae
    latents = torch.randn(2 * images, unet.config.in_channels, *[unet.config.sample_size] * 2)
    texts = torch.randn(2 * images, pipeline.tokenizer.model_max_length, unet.config.cross_attention_dim)
    latents, texts = (tensor.to(device, unet.dtype) for tensor in (latents, texts))
    calls = {"UNet": lambda: unet(latents, 500, texts), "VAE": lambda: vae.decode(latents[:images])}
    lines = []
    for what, call in calls.items():
        call()
        with torch.profiler.profile() as profiled:
            began = time.process_time()
            call()
            seconds = time.process_time() - began
        with FlopCounterMode(display=False) as counter:
            call()
        flops = counter.get_total_flops()
        inputs = 2 * images if what == "UNet" else images
        lines.append(
            f"{what}, {config.dtype}, {inputs} inputs: {1000 * seconds / inputs:.2f} ms and {flops / inputs / 1e9:.2f} "
            f"GFLOP each, {flops / seconds / 1e9:.0f} GFLOP/s on one core"
        )
        found = sorted(profiled.key_averages(), key=lambda op: -op.self_cpu_time_total)
        total = sum(op.self_cpu_time_total for op in found)
        lines += [f"  {100 * op.self_cpu_time_total / total:5.1f} %  {op.count:4d} x  {op.key}" for op in found[:10]]
    return "\n".join(lines)


def score(recipe: Recipe, out: Path, tests: bool) -> dict[str, list[float]]:
    """Top-1 in percent of classifiers trained only on the images that `recipe` generates, by seed."""
    found: dict[str, list[float]] = defaultdict(list)
    for seed in SEEDS:
        study = Study(recipe.model_copy(update={"data_seed": seed}), out)
        data = study.data
        checkpoint = study.checkpoint(ArmConfig(name="generated", mixture="generated"), seed)
        assert data.shifted_val is not None
        sets = {"wild-val": data.shifted_val, **({name: data.tests[name] for name in study.tests} if tests else {})}
        by = PredictedBy(checkpoint.name, checkpoint.name)
        opened = {by: open_checkpoint(checkpoint)}
        made = predict_sets(out / "scores", opened, sets, data.labels, 256, threads=recipe.threads)[by]
        top1 = {name: 100 * float(np.mean(p.logits.argmax(1) == p.labels)) for name, p in made.items()}
        found["wild-val"].append(top1.pop("wild-val"))
        if tests:
            found["tests"].append(float(np.mean(list(top1.values()))))
    return found


def told(values: Sequence[float]) -> str:
    return f"{np.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def short(sets: Sequence[str]) -> str:
    return " ".join(word.removeprefix("generator.") for word in sets)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100, help="that each variant generates in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--few", action="store_true", help="only the recipe's four guided steps against two without")
    parser.add_argument("--profile", action="store_true", help="only print where the time of the networks goes")
    parser.add_argument("--score", action="store_true", help="also measure the value of the images")
    parser.add_argument("--tests", action="store_true", help="score only the choice, and on the study's test sets too")
    parser.add_argument("--out", type=Path, default=Path("runs/generation"), help="the output folder of --score")
    return parser.parse_args()


def print_scores(base: Sequence[str], out: Path, tests: bool) -> None:
    """Score each sampling, and its difference to that of 15 steps."""
    first = score(load_recipe("pictograms", [*base, *SCORED, *MANY]), out, tests)
    print(f"{short(MANY)}: " + "; ".join(f"{of} {told(values)}" for of, values in first.items()), flush=True)
    for sets in [FAST] if tests else CANDIDATES:
        made = score(load_recipe("pictograms", [*base, *SCORED, *sets]), out, tests)
        words = [f"{of} {told(v)}, of a seed {told(np.subtract(v, first[of]))} more" for of, v in made.items()]
        print(f"{short(sets)}: " + "; ".join(words), flush=True)


def print_few(base: Sequence[str], plan: Plan, rounds: int) -> None:
    """Compare the recipe's steps and those of the LoRA."""
    recipes = {short(sets): load_recipe("pictograms", [*base, *sets]) for sets in (FAST, TWO_STEPS)}
    draws = {name: partial(into_fresh, partial(ours, plan, of, of.device)) for name, of in recipes.items()}
    seconds = interleaved(draws, rounds)
    first = next(iter(seconds.values()))
    rows = [[name, rate(len(plan), s), times_faster(s, first)] for name, s in seconds.items()]
    print(table(["genrobust", "images/s", "times the first"], rows))
    print(f"\n{where_and_when()}; {len(plan)} images a round, {rounds} rounds; spread over rounds.")
    for name, recipe in recipes.items():
        print(f"{name}: {shares(plan, recipe, recipe.device)}")


def main() -> None:
    asked = options()
    use_cores(2)
    base = [f"threads={cores()}", f"device={asked.device}"]
    ways = (MANY + BFLOAT16, MANY + FLOAT32, FAST + BFLOAT16, TWO_STEPS + BFLOAT16)
    many, exact, fast, two = (load_recipe("pictograms", [*base, *more]) for more in ways)
    if asked.profile:
        print("python benchmarks/generation.py --profile", where_and_when(), sep="\n")
        print(profile(exact.generator, asked.device), profile(many.generator, asked.device), sep="\n")
        return
    if asked.score:
        print_scores(base, asked.out, asked.tests)
    data = load_data(many.data)
    labels = LabelSpace(data.labels.classes[: asked.images])
    generate = many.generate.model_copy(update={"per_class": max(1, asked.images // len(labels))})
    plan = plan_of(many.generator, generate, labels, data.train, many.data_seed)
    requests = list(plan)
    if asked.few:
        print_few(base, plan, asked.rounds)
        return
    draws: dict[str, Callable[[Path], object]] = {
        "plain, float32": partial(plain, requests, exact.generator, asked.device),
        "plain, bfloat16": partial(plain, requests, many.generator, asked.device),
        "genrobust, float32": partial(ours, plan, exact, asked.device),
        "genrobust, bfloat16": partial(ours, plan, many, asked.device),
        f"genrobust, bfloat16, {short(FAST)} (as in the recipe)": partial(ours, plan, fast, asked.device),
        f"genrobust, bfloat16, {short(TWO_STEPS)}": partial(ours, plan, two, asked.device),
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
    print(f"{short(MANY)}: {shares(plan, many, asked.device)}")
    print(f"{short(FAST)}: {shares(plan, fast, asked.device)}")
    print(f"{short(TWO_STEPS)}: {shares(plan, two, asked.device)}")


if __name__ == "__main__":
    main()
