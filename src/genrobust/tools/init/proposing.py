"""Proposes settings that fit the images and the machine, for the recipe that `init` writes."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

from genrobust.core import cores
from genrobust.recipe import EvaluateConfig
from genrobust.report import count
from genrobust.tools.init.folders import Contents

SEEDS = 3  # of each arm: fewer allow no general conclusion
GRID = 6  # baseline models: twice the three that a line needs
GRID_COST = 8  # trainings as long as an arm's that they take: the first two are twice as long, half are deeper
SIZES = (32, 64, 96, 128, 160, 192, 224)  # px, of a square input
CPU_SIZE = 64  # px: at 224 a training step takes twelve times as long
NARROW = "{channels: [32, 64, 128, 256], stem_width: 16}"  # half as wide: a third of the time on a CPU
CPU_SECONDS = 0.0015  # that a core takes for an image of 64 px in a training step of the narrow network
PASSES = 30  # over the images of the largest arm: where small networks trained from scratch level off
LEAST_STEPS, GPU_STEPS = 200, 50_000
STUDY_SECONDS = 1800  # of training on all cores, at most
QUICK_SECONDS = 60
QUICK_GPU_IMAGES = 50_000  # that a quick training sees: about a minute
QUICK_GENERATED = 70  # images that a quick study generates: a minute of Stable Diffusion 1.5 on one GPU
TUNED = 3  # arms that start from a pretrained network, for each mixture
TUNED_STEPS = (100, 2000)  # least and most: a pretrained network needs fewer
TUNED_PASSES = 10  # over the images of the largest arm, as in WiSE-FT's paper
GENERATOR_PASSES, GENERATOR_BATCH = 50, 32  # over its images, as in the recipe pacs
GENERATOR_STEPS = (2000, 8000)  # least and most
COMPONENTS = 12  # of patches of 48 numbers: they hold 98 % of the variance of PACS
SEEN, TO_LEARN = 100, 10  # images of a class that a preview sees, repeated or not, and has: less is near chance
LEAST_SHIFT = 30  # images of a shifted set that is averaged: one image of fewer moves accuracy by over three points


def least_images(sizes: Collection[int]) -> int:
    """Return `evaluate.min_images` for shifted sets of these sizes.

    Sets of LEAST_SHIFT images or more are averaged; where none has as many, all are.
    """
    large = [size for size in sizes if size >= LEAST_SHIFT] or [size for size in sizes if size]
    return min([EvaluateConfig().min_images, *large])


def propose(
    real: int, largest: int, side: int, arms: int, baselines: int, workers: int, size: int | None = None
) -> dict[str, Any]:
    """Propose training settings; reasons become comments, and "every" is in steps.

    Args:
        real: The number of real training images.
        largest: The number of images of the largest arm.
        side: The median shorter side of the training images, in pixels.
        arms: The number of arms, each with SEEDS seeds.
        baselines: The number of baseline models.
        workers: The number of cores, each of which trains a classifier; 0 with a GPU.
        size: The image size in pixels, where a pretrained network demands one.
    """
    reason = "px, as the pretrained network takes them; the same for all arms"
    if size is None:
        fitting = max((s for s in SIZES if s <= side), default=SIZES[0])
        size = min(fitting, CPU_SIZE) if workers else fitting
        reason = f"px; the median shorter side of the training images is {side} px"
        reason += f", but without a GPU more than {CPU_SIZE} takes long" if size < fitting else ""
    batch = min(128, max(8, 2 ** int(math.log2(max(1, real / 8)))))
    wanted = max(LEAST_STEPS, math.ceil(PASSES * largest / batch / 100) * 100)
    trainings = SEEDS * arms + (GRID_COST if baselines else 0)
    most = _affordable_steps(STUDY_SECONDS, workers, trainings, size, batch) if workers else GPU_STEPS
    steps = min(wanted, max(LEAST_STEPS, most // 100 * 100))
    quick = QUICK_GPU_IMAGES // batch
    if workers:
        quick = _affordable_steps(QUICK_SECONDS, workers, workers * math.ceil(arms / workers), size, batch)
    why = f"{steps * batch / largest:.0f} passes over the {largest:,} images of the largest arm"
    if workers and steps < wanted:
        why += f"; more take over {STUDY_SECONDS // 60} min on {count(workers, 'core')}"
    return {
        "architecture": "resnet10t" if workers or size <= 96 else "resnet18" if real < 100_000 else "resnet50",
        "narrow": NARROW if workers else None,
        "image_size": size,
        "size_reason": reason,
        "batch_size": batch,
        "steps": steps,
        "steps_reason": why,
        "learning_rate": round(2e-3 * math.sqrt(batch / 128), 5),  # the noise of AdamW grows with the root of the batch
        "warmup_steps": steps // 10,
        "every": steps // 5,
        "quick_steps": min(steps, max(20, quick // 10 * 10)),
    }


def _affordable_steps(seconds: float, workers: int, trainings: int, size: int, batch: int) -> int:
    """Return how many steps of each of so many trainings fit into `seconds` on so many cores."""
    an_image = CPU_SECONDS * (size / CPU_SIZE) ** 2
    return int(seconds * workers / trainings / an_image / batch)


def propose_generator(sets: Sequence[Contents], gpu: bool) -> dict[str, Any]:
    """Propose a generator of one's own for the images of `sets`, and the training of it.

    On a CPU it is that of the recipe `pacs`, at 64 px; on a GPU, DiT-S/2 (Peebles and Xie, 2023) on the latents of
    Stable Diffusion at 256 px.
    """
    images = sum(contents.total for contents in sets)
    low, high = GENERATOR_STEPS
    steps = min(high, max(low, math.ceil(GENERATOR_PASSES * images / GENERATOR_BATCH / 100) * 100))
    training = {"steps": steps, "batch": GENERATOR_BATCH, "gpu": gpu}
    proposed = {"images": count(images, "image"), "drawing_steps": 10, **training}
    if gpu:
        return proposed | {"channels": None, "depth": 12, "width": 384}
    return proposed | {"channels": [64, 96, 128], "components": COMPONENTS, "threads": cores()}


def no_preview(steps: int, batch: int, classes: int, least: int) -> str:
    """Return why a training of `steps` is no preview of accuracy, in words; "" where it is one.

    Args:
        least: The number of training images of the smallest class.
    """
    if least < TO_LEARN:
        return f"a class has {count(least, 'training image')}, too few to learn it from scratch"
    if (seen := steps * batch // classes) < SEEN:
        return f"it sees {seen:,} images a class, too few to learn {classes:,} classes"
    return ""


def tuned_steps(largest: int, batch: int) -> int:
    """Return the steps in which a pretrained network is fine-tuned on up to `largest` images: it needs fewer."""
    low, high = TUNED_STEPS
    return min(high, max(low, math.ceil(TUNED_PASSES * largest / batch / 100) * 100))


def quick_generated(per_class: int, classes: int) -> int:
    """Return how many images of each class a quick study generates, of the `per_class` of a whole one."""
    return min(per_class, max(2, QUICK_GENERATED // classes))
