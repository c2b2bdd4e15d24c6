"""Proposes the settings of a recipe that fit a user's images and this machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from genrobust.classifiers import BICUBIC, Initial, open_initial
from genrobust.core import GenrobustError, ImageSet, UserError, available_devices, bare_name, cores
from genrobust.tools.init.finding import Found

SEEDS = 3  # of each arm: fewer allow no general conclusion
STUDY_SECONDS = 1200  # of training on all cores, at most, where the fewest steps allow
# Networks to start from, without and with a GPU: a ResNet-18 that learned ImageNet's classes (Wightman et al., 2021),
# and a ViT-S/16 that learned from its images without their labels (DINO: Caron et al., 2021).
NETWORKS = ("hf-hub:timm/resnet18.a1_in1k", "hf-hub:timm/vit_small_patch16_224.dino")
PHOTOGRAPH, COLORED = 64, 3  # px of the median shorter side; gray levels that channels of some image differ by
SIZES = (32, 64, 96, 128, 160, 192, 224)  # px, of a square input
CPU_SIZE = 64  # px: at 224 a training step takes twelve times as long
NARROW = "{channels: [32, 64, 128, 256], stem_width: 16}  # half as wide: a third of the time on a CPU"
GRID = 6  # baseline models: twice the three that a line needs
LEAST_CLEAN = 100  # test images: with fewer, one moves clean accuracy by more than a point, and a line fits noise
LEAST_SHIFT = 30  # images of a shifted set that is averaged: one image of fewer moves accuracy by over three points
IMBALANCED = 3  # times as many images of a class as of another, where classes are drawn equally often
GPU_THREADS = 8  # CPU threads beside a GPU; without one, a worker of one thread runs on each core
SAMPLED = 32  # images that are looked at for their sizes and colors
MOST_PER_CLASS = 1300  # generated images: as many as ImageNet has real ones


@dataclass(frozen=True)
class Pace:
    """How long networks of a kind train: `passes` over the images of the largest arm, in `steps` from least to most.

    Attributes:
        batch: The largest batch.
        seconds: What a core takes for a pixel of an image in a training step.
    """

    passes: int
    steps: tuple[int, int]
    batch: int
    seconds: float


SCRATCH = Pace(30, (200, 50_000), 128, 0.0015 / 64**2)  # where small networks level off; half a ResNet-10's width
TUNED = Pace(10, (60, 2000), 32, 0.1 / 224**2)  # as in WiSE-FT's paper; a ResNet-18


def propose_length(pace: Pace, real: int, largest: int, size: int, trainings: int, workers: int) -> dict[str, int]:
    """Propose the length of trainings on images of `size` pixels.

    Args:
        real: The number of real training images.
        largest: The number of images of the largest arm.
        workers: The number of cores, each of which trains a classifier; 0 with a GPU.
    """
    batch = min(pace.batch, max(8, 2 ** int(math.log2(max(1, real / 8)))))
    least, most = pace.steps
    if workers:
        most = min(most, int(STUDY_SECONDS * workers / (trainings * batch * pace.seconds * size**2)))
    steps = math.ceil(max(least, min(most, pace.passes * largest / batch)) / 10) * 10
    return {"batch_size": batch, "steps": steps, "passes": round(steps * batch / largest)}


def propose(found: Found, init: str | None, server: tuple[str, str] | None, own: bool) -> dict[str, Any]:
    """Propose the values of the template, some of which depend on the numbers of images and on this machine.

    The arguments are those of `write_recipe`, which raises what this raises.
    """
    data, counts, gpu = found.data, found.counts(found.data.train), available_devices()[0] != "cpu"
    side, colored = _look(data.train)
    photographs = colored and side >= PHOTOGRAPH
    network, network_line = _start(init, photographs, NETWORKS[gpu], found.class_names)
    sizes, retrieved = {shift: len(data.tests[shift]) for shift in data.shifts}, data.retrieval is not None
    pool = [counts, *([found.counts(data.retrieval)] if own and data.retrieval is not None else [])]
    per_class = min(MOST_PER_CLASS, max(10, round(sum(float(np.median(of)) for of in pool))))
    with_generated = gpu or server is not None or own or data.generated is not None
    made = len(data.generated) if data.generated is not None else with_generated * per_class * len(counts)
    largest = len(data.train) + max(made, len(data.retrieval) if data.retrieval is not None else 0)
    # An arm from scratch prepares images bicubically, and all arms are tested on images that are prepared alike.
    beside = network is not None and network.blueprint.interpolation == BICUBIC
    has_line = network is None and sizes and len(data.tests[data.clean]) >= LEAST_CLEAN
    grid = GRID if has_line else 0
    trainings, workers = (
        SEEDS * (2 + photographs + 2 * with_generated + retrieved + beside) + grid,
        0 if gpu else cores(),
    )
    size = max((s for s in SIZES if s <= (side if gpu else min(side, CPU_SIZE))), default=SIZES[0])
    size = size if network is None else network.blueprint.image_size
    scratch, tuned = (
        propose_length(pace, len(data.train), largest, size, trainings, workers) for pace in (SCRATCH, TUNED)
    )
    small, large = not gpu or size <= 96, len(data.train) >= 100_000
    largest_shift = max(sizes, key=lambda shift: sizes[shift], default="")
    choosing = data.shifted_val is None and len(sizes) > 1 and sizes[largest_shift] >= 3 * LEAST_SHIFT
    knows = network is not None and {*map(bare_name, found.class_names)} <= {*map(bare_name, network.opened.classes)}
    return {
        "own": own,
        "server": server,
        "gpu": gpu,
        "side": side,
        "photographs": photographs,
        "network_line": network_line,
        "answer": "real+generated" if with_generated else "real+retrieved" if retrieved else "real+randaugment",
        "threads": min(GPU_THREADS, cores()) if gpu else 1,
        "cores": cores(),
        "with_generated": with_generated,
        "own_steps": min(8000, max(5000, math.ceil(50 * sum(int(of.sum()) for of in pool) / 3200) * 100)),
        "per_class": per_class,
        "largest": largest,
        "size": size,
        "plan": scratch if network is None else tuned,
        "scratch": scratch,
        "beside": beside,
        "architecture": "resnet10t" if small else "resnet50" if large else "resnet18",
        "model_kwargs": "{}" if gpu else NARROW,
        "learning_rate": round(2e-3 * math.sqrt(scratch["batch_size"] / 128), 5),  # AdamW's noise grows with the root
        "init": None if network is None else network.opened.name,
        "knows_classes": knows,
        "trainings": trainings,
        "balance": counts.max() >= IMBALANCED * counts.min(),
        "chosen_by": largest_shift if choosing else None,
        "min_images": LEAST_SHIFT if max(sizes.values(), default=LEAST_SHIFT) >= LEAST_SHIFT else 1,
        "grid": grid,
        "least_clean": LEAST_CLEAN,
    }


def _look(images: ImageSet) -> tuple[int, bool]:
    """The median shorter side of a sample, in pixels, and whether any of it has colors."""
    sides, colored = [], False
    for index in range(min(len(images), SAMPLED)):  # in the order of a hash of their names
        with suppress(UserError):  # which the study reports
            pixels = np.asarray(images.image(index))
            sides.append(min(pixels.shape[:2]))
            colored = colored or bool(np.ptp(pixels, axis=2).max() >= COLORED)
    if not sides:
        raise UserError(f"--train: cannot read any of the sampled images, such as {images.keys[0]}")
    return round(median(sides)), colored


def _start(
    init: str | None, photographs: bool, proposed: str, class_names: Mapping[str, str]
) -> tuple[Initial | None, str]:
    """The network that the user gave, or the proposed one where its weights can be had; and a line on it, or ""."""
    if init == "scratch" or (init is None and not photographs):
        return None, ""
    texts = [[f"a photo of a {name}"] for name in class_names.values()]
    opened = partial(open_initial, classes=list(class_names), texts=lambda: texts)
    if init is not None:
        return opened(init), f"it starts from {init}, which may have seen images like your tests"
    name = proposed.removeprefix("hf-hub:")
    try:
        beside = "with an arm from scratch beside it: ImageNet may hold your classes and styles"
        return opened(proposed), f"it starts from {name}, {beside}"
    except GenrobustError:
        return None, f"from scratch: no weights of {name} here. To fetch them: hf download {name}"
