"""How fast one worker of each stage was on this machine: what a study's time is estimated from."""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from genrobust.core import device_kind, digest, leftovers, lock, make_folder, remove_leftovers, replacing
from genrobust.recipe import (
    ClassModelConfig,
    EvaluateConfig,
    FinetuneConfig,
    GeneratorConfig,
    Recipe,
    TrainConfig,
    ZeroShotConfig,
)

RATES = "rates.json"


def place_of(recipe: Recipe) -> str:
    """What every rate depends on beside its work: "cpu, 1 thread", the device and the threads of a worker."""
    threads = "1 thread" if recipe.threads == 1 else f"{recipe.threads} threads"
    return f"{device_kind(recipe.device)}, {threads}"


def of_generator(generator: GeneratorConfig, place: str, class_model: ClassModelConfig | None = None) -> str:
    """What the rate of generating depends on; `place` is as `place_of` gives it.

    A `class_model` draws in the place of the generator whose autoencoder it has.
    """
    model = generator.model if class_model is None else f"{generator.model}, {_size(class_model)}"
    steps = generator.steps
    if generator.mode == "labels+images":
        steps = int(steps * generator.strength)  # it begins at a noised image
    if generator.engine != "diffusers":
        model = f"{generator.engine}, {model}"
    mode = "" if generator.mode == "labels" else f"{generator.mode}, "
    guided = "" if generator.guidance_until == 1 else f" guided until {generator.guidance_until:g}"
    size = f", {generator.width} x {generator.height} px" if generator.width and generator.height else ""
    return f"{model}, {mode}{steps} steps{guided}{size}, {generator.dtype}, {place}"


def of_finetune(generator: GeneratorConfig, finetune: FinetuneConfig, place: str) -> str:
    """What the rate of fine-tuning depends on."""
    return f"{generator.model}, {finetune.method}, {finetune.precision}, {place}"


def of_class_model(generator: GeneratorConfig, class_model: ClassModelConfig, place: str) -> str:
    """What the rate of training a class model on the latents of `generator` depends on."""
    return f"{generator.model}, {_size(class_model)}, {class_model.precision}, {place}"


def of_evaluating(train: TrainConfig, evaluate: EvaluateConfig, place: str) -> str:
    """What the rate of evaluating a classifier depends on."""
    flipped = ", flipped too" if evaluate.flip else ""
    return f"{_network(train)}, {evaluate.image_size or train.image_size} px{flipped}, {place}"


def of_packing(generated: bool) -> str:
    """What the rate of packing depends on, all cores at work: a PNG takes much longer to decode than a JPEG."""
    return "generated images" if generated else "real images"


def of_training(train: TrainConfig, place: str) -> str:
    """What the rate of training depends on."""
    together = "" if train.workers == 1 else f", {train.workers} workers"
    split = ", split batch norm" if train.split_batchnorm else ""
    how = f"{train.image_size} px, {train.crop} crops, {train.augmented}, batches of {train.batch_size}"
    return f"{_network(train)}{split}, {how}, {train.precision}, {place}{together}"


def of_zero_shot(zero_shot: ZeroShotConfig, place: str) -> str:
    """What the rate of a CLIP's evaluation depends on."""
    return f"CLIP {zero_shot.clip}, {place}"


@contextmanager
def measured(out: Path, stage: str, of: str, count: int) -> Iterator[None]:
    """Remember the rate at which the block makes `count` images; for 0 of them, which tell no rate, nothing."""
    began = time.monotonic()
    yield
    if count:
        remember_rate(out, stage, of, count / (time.monotonic() - began))


def remember_rate(out: Path, stage: str, of: str, per_second: float) -> None:
    """Note in the folder `out` that one worker of `stage` makes `per_second` images a second of the kind `of`."""
    make_folder(out)
    with lock(out, wait=True, mirrored=False):  # they are this machine's
        rates = _read(out)
        rates.setdefault(stage, {})[of] = per_second
        with replacing(out / RATES, mirrored=False) as file:
            file.write(json.dumps(rates, indent=1, sort_keys=True).encode())


def tidy_rates(out: Path) -> None:
    """Remove what was left in the folder `out` by a process that was killed while it noted a rate."""
    if leftovers(out):
        with lock(out, wait=True, mirrored=False):
            remove_leftovers(out)


def measured_rate(out: Path, stage: str, of: str) -> float | None:
    """Images a second of one worker of `stage` for the kind `of`, as last measured in `out`; None before the first."""
    return _read(out).get(stage, {}).get(of)


def estimate(out: Path, stage: str, jobs: Sequence[tuple[int, str]], workers: int) -> float | None:
    """The seconds in which so many `workers` of `stage` make all `jobs`; None where a rate is not known.

    A job is the number of its images and what their rate depends on. The longest goes first, each to the worker that
    is free first.
    """
    rates = {of: measured_rate(out, stage, of) for _, of in jobs}
    known = {of: rate for of, rate in rates.items() if rate}
    if len(known) < len(rates):
        return None
    busy = [0.0] * workers
    for seconds in sorted((size / known[of] for size, of in jobs), reverse=True):
        heapq.heapreplace(busy, busy[0] + seconds)
    return max(busy)


def _read(out: Path) -> dict[str, dict[str, float]]:
    try:
        found = json.loads((out / RATES).read_text(encoding="utf-8"))
        return {stage: {of: float(rate) for of, rate in rates.items()} for stage, rates in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # none yet, or damaged: it only tells times


def _size(class_model: ClassModelConfig) -> str:
    return f"DiT of {class_model.depth} x {class_model.width}, patches of {class_model.patch_size}"


def _network(train: TrainConfig) -> str:
    kwargs = f" {digest(train.model_kwargs)}" if train.model_kwargs else ""
    return f"{train.architecture}{kwargs}"
