"""Proposes settings that fit the images and the machine, for the recipe that `init` writes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from genrobust.core import cores
from genrobust.recipe import EvaluateConfig
from genrobust.report import count

SEEDS = 3  # of each arm: fewer allow no general conclusion
GRID = 6  # baseline models: twice the three that a line needs
GRID_COST = 8  # trainings as long as an arm's that they take: the first two are twice as long, half are deeper
SIZES = (32, 64, 96, 128, 160, 192, 224)  # px, of a square input
CPU_SIZE = 64  # px: at 224 a training step takes twelve times as long
NARROW = "{channels: [32, 64, 128, 256], stem_width: 16}"  # half as wide: a third of the time on a CPU
CPU_SECONDS = 0.0015 / 64**2  # that a core takes for a pixel of an image in a training step of the narrow network
TUNED_SECONDS = 0.1 / 224**2  # the same of a ResNet-18
PASSES = 30  # over the images of the largest arm: where small networks trained from scratch level off
LEAST_STEPS, GPU_STEPS = 200, 50_000
STUDY_SECONDS, TUNED_STUDY_SECONDS = 1800, 1200  # of training on all cores, at most: from scratch, or pretrained
QUICK_SECONDS = 60
QUICK_GPU_IMAGES = 50_000  # that a quick training sees: about a minute
QUICK_GENERATED = 70  # images that a quick study generates: a minute of Stable Diffusion 1.5 on one GPU
TUNED_STEPS = (60, 2000)  # least and most: a pretrained network needs fewer
TUNED_PASSES = 10  # over the images of the largest arm, as in WiSE-FT's paper
GENERATOR_PASSES, GENERATOR_BATCH = 50, 32  # over its images, as in the recipe pacs
GENERATOR_STEPS = (2000, 8000)  # least and most
COMPONENTS = 12  # of patches of 48 numbers: they hold 98 % of the variance of PACS
SEEN, TO_LEARN = 100, 10  # images of a class that a preview sees, repeated or not, and has: less is near chance
LEAST_SHIFT = 30  # images of a shifted set that is averaged: one image of fewer moves accuracy by over three points
IMBALANCED = 3  # times as many images of a class as of another, where classes are drawn equally often


def least_images(sizes: Mapping[str, int]) -> int:
    """Return `evaluate.min_images`: sets of LEAST_SHIFT images or more are averaged; where there are none, all."""
    large = [size for size in sizes.values() if size >= LEAST_SHIFT] or [size for size in sizes.values() if size]
    return min([EvaluateConfig().min_images, *large])


def shift_to_choose_by(sizes: Mapping[str, int]) -> tuple[str | None, str]:
    """Return the shift of which a third is held out to choose by, or None and why not."""
    if len(sizes) < 2:
        return None, "it takes two shifts, to choose by one and test on the other"
    name = max(sizes, key=lambda shift: sizes[shift])
    if sizes[name] < 3 * LEAST_SHIFT:
        return None, f"the largest shift has {sizes[name]} images, and a third should be {LEAST_SHIFT}"
    return name, ""


def propose(
    real: int, largest: int, side: int, arms: int, baselines: int, workers: int, size: int | None = None
) -> dict[str, Any]:
    """Propose a training from scratch; reasons become comments, and "every" is in steps.

    Args:
        real: The number of real training images.
        largest: The number of images of the largest arm.
        side: The median shorter side of the training images, in pixels.
        arms: The number of arms, each with SEEDS seeds.
        baselines: The number of baseline models.
        workers: The number of cores, each of which trains a classifier; 0 with a GPU.
        size: The image size in pixels, where a pretrained network decides it: all arms are tested at one.
    """
    fitting = max((s for s in SIZES if s <= side), default=SIZES[0])
    size = size or (min(fitting, CPU_SIZE) if workers else fitting)
    reason = f"px; the median shorter side of the training images is {side} px"
    reason += f", but without a GPU more than {CPU_SIZE} takes long" if size < fitting else ""
    batch = _batch(real)
    wanted = max(LEAST_STEPS, math.ceil(PASSES * largest / batch / 100) * 100)
    trainings = SEEDS * arms + (GRID_COST if baselines else 0)
    of_image = CPU_SECONDS * size**2
    most = _affordable_steps(STUDY_SECONDS, workers, trainings, of_image * batch) if workers else GPU_STEPS
    steps = min(wanted, max(LEAST_STEPS, most // 100 * 100))
    why = f"{steps * batch / largest:.0f} passes over the {largest:,} images of the largest arm"
    if workers and steps < wanted:
        why += f"; more take over {STUDY_SECONDS // 60} min on {count(workers, 'core')}"
    return {
        "architecture": "resnet10t" if workers or size <= 96 else "resnet18" if real < 100_000 else "resnet50",
        "model_kwargs": NARROW if workers else None,
        "image_size": size,
        "size_reason": reason,
        "learning_rate": round(2e-3 * math.sqrt(batch / 128), 5),  # the noise of AdamW grows with the root of the batch
        **_lengths(batch, steps, why, arms, workers, of_image),
    }


def propose_tuned(real: int, largest: int, arms: int, workers: int, size: int) -> dict[str, Any]:
    """Propose a fine-tuning of a pretrained network that takes images of `size` pixels, as `propose` does."""
    batch, (low, high), of_image = min(32, _batch(real)), TUNED_STEPS, TUNED_SECONDS * size**2
    wanted = min(high, max(low, math.ceil(TUNED_PASSES * largest / batch / 10) * 10))
    most = _affordable_steps(TUNED_STUDY_SECONDS, workers, SEEDS * arms, of_image * batch) if workers else high
    steps = min(wanted, max(low, most // 10 * 10))
    why = f"{steps * batch / largest:.0f} passes over the {largest:,} images of the largest arm"
    return {"image_size": size, **_lengths(batch, steps, why, arms, workers, of_image)}


def _batch(real: int) -> int:
    return min(128, max(8, 2 ** int(math.log2(max(1, real / 8)))))


def _lengths(batch: int, steps: int, why: str, arms: int, workers: int, of_image: float) -> dict[str, Any]:
    quick = QUICK_GPU_IMAGES // batch
    if workers:
        quick = _affordable_steps(QUICK_SECONDS, workers, workers * math.ceil(arms / workers), of_image * batch)
    lengths = {"warmup_steps": steps // 10, "every": max(1, steps // 5)}
    return {"batch_size": batch, "steps": steps, "steps_reason": why, **lengths} | {
        "quick_steps": min(steps, max(20, quick // 10 * 10))
    }


def _affordable_steps(seconds: float, workers: int, trainings: int, of_step: float) -> int:
    """Return how many steps of each of so many trainings fit into `seconds` on so many cores."""
    return int(seconds * workers / trainings / of_step)


def propose_generator(images: int, gpu: bool) -> dict[str, Any]:
    """Propose a generator of one's own, and the training of it.

    On a CPU it is that of the recipe `pacs`, at 64 px; on a GPU, DiT-S/2 (Peebles and Xie, 2023) on the latents of
    Stable Diffusion at 256 px.
    """
    low, high = GENERATOR_STEPS
    steps = min(high, max(low, math.ceil(GENERATOR_PASSES * images / GENERATOR_BATCH / 100) * 100))
    proposed = {"images": count(images, "image"), "steps": steps, "batch": GENERATOR_BATCH, "gpu": gpu}
    if gpu:
        return proposed | {"channels": None, "depth": 12, "width": 384}
    return proposed | {"channels": [64, 96, 128], "components": COMPONENTS, "threads": cores()}


def no_preview(steps: int, batch: int, classes: int, least: int) -> str:
    """Return why a training of `steps` from scratch is no preview of accuracy, in words; "" where it is one.

    Args:
        least: The number of training images of the smallest class.
    """
    if least < TO_LEARN:
        return f"a class has {count(least, 'training image')}, too few to learn it from scratch"
    if (seen := steps * batch // classes) < SEEN:
        return f"it sees {seen:,} images a class, too few to learn {classes:,} classes"
    return ""
