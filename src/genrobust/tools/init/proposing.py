"""Proposes the settings of a recipe that fit a user's images and this machine."""

from __future__ import annotations

import math
from contextlib import suppress
from statistics import median
from typing import Any, NamedTuple

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
LARGEST = (64, 224)  # px of a square input, without and with a GPU: at 224 a step takes twelve times as long
GRID = 6  # baseline models: twice the three that a line needs
LEAST_CLEAN = 100  # test images: with fewer, one moves clean accuracy by more than a point, and a line fits noise
LEAST_SHIFT = 30  # images of a shifted set that is averaged: one image of fewer moves accuracy by over three points
IMBALANCED = 3  # times as many images of a class as of another, where classes are drawn equally often
SAMPLED = 32  # images that are looked at for their sizes and colors
MOST_PER_CLASS = 1300  # generated images: as many as ImageNet has real ones


class Pace(NamedTuple):
    """How long networks of a kind train."""

    passes: int  # over the images of the largest arm
    least: int  # steps
    most: int
    batch: int  # at most
    seconds: float  # that a core takes for a pixel of an image in a step


SCRATCH = Pace(30, 200, 50_000, 128, 0.0015 / 64**2)  # where small networks level off; half a ResNet-10's width
TUNED = Pace(10, 60, 2000, 32, 0.1 / 224**2)  # as in WiSE-FT's paper; a ResNet-18


def propose_length(pace: Pace, real: int, largest: int, size: int, seconds: float) -> dict[str, int]:
    """Propose the length of a training on images of `size` pixels, for which a core has so many `seconds`.

    There are `real` training images, and `largest` in the largest arm.
    """
    batch = min(pace.batch, max(8, 2 ** int(math.log2(max(1, real / 8)))))
    most = min(pace.most, seconds / (batch * pace.seconds * size**2))
    return {
        "batch_size": batch,
        "steps": math.ceil(max(pace.least, min(most, pace.passes * largest / batch)) / 10) * 10,
    }


def propose(found: Found, init: str | None, server: tuple[str, str] | None, own: bool) -> dict[str, Any]:
    """Propose the values of the template that depend on the images and on this machine.

    Args:
        init: The network to start from, as `train.init` names it, or "scratch"; None proposes one for photographs.
        server: The address of a server that generates, and its name of the model.
        own: Generate with a small generator that is trained on the images, by class and style.

    Raises:
        UserError: No such network, no readable image, or `own` has no images of other styles.
    """
    data, counts, gpu = found.data, found.counts(found.data.train), available_devices()[0] != "cpu"
    if own and data.retrieval is None:
        raise UserError("--own-generator: a generator learns other styles from labeled images of them: add --retrieved")
    side, colored = _look(data.train)
    photographs = colored and side >= PHOTOGRAPH
    network, network_line = _start(init or (NETWORKS[gpu] if photographs else "scratch"), init is None, found)
    sizes, retrieved = {shift: len(data.tests[shift]) for shift in data.shifts}, data.retrieval is not None
    pool = [counts, *([found.counts(data.retrieval)] if own and data.retrieval is not None else [])]
    per_class = min(MOST_PER_CLASS, max(10, round(sum(float(np.median(of)) for of in pool))))
    with_generated = gpu or server is not None or own or data.generated is not None
    made = len(data.generated) if data.generated is not None else with_generated * per_class * len(counts)
    largest = len(data.train) + max(made, len(data.retrieval) if data.retrieval is not None else 0)
    # An arm from scratch prepares images bicubically, and all arms are tested on images that are prepared alike.
    beside = network is not None and network.blueprint.interpolation == BICUBIC
    grid = GRID if network is None and sizes and len(data.tests[data.clean]) >= LEAST_CLEAN else 0
    trainings = SEEDS * (2 + photographs + 2 * with_generated + retrieved + beside) + grid
    size = network.blueprint.image_size if network else max(32, min(side, LARGEST[gpu]) // 32 * 32)
    seconds = math.inf if gpu else STUDY_SECONDS * cores() / trainings
    scratch, tuned = (propose_length(pace, len(data.train), largest, size, seconds) for pace in (SCRATCH, TUNED))
    divisible = [shift for shift in sizes if len(sizes) > 1 and sizes[shift] >= 3 * LEAST_SHIFT]
    return {
        "own": own,
        "server": server,
        "gpu": gpu,
        "cores": cores(),
        "side": side,
        "photographs": photographs,
        "network_line": network_line,
        "with_generated": with_generated,
        "own_steps": min(8000, max(5000, math.ceil(50 * sum(int(of.sum()) for of in pool) / 3200) * 100)),
        "per_class": per_class,
        "largest": largest,
        "size": size,
        "plan": scratch if network is None else tuned,
        "scratch": scratch,
        "beside": beside,
        "init": None if network is None else network.opened.name,
        "knows_classes": network and {*map(bare_name, found.class_names)} <= {*map(bare_name, network.opened.classes)},
        "trainings": trainings,
        "balance": counts.max() >= IMBALANCED * counts.min(),
        "chosen_by": max(divisible, key=lambda shift: sizes[shift], default=None) if data.shifted_val is None else None,
        "min_images": LEAST_SHIFT if max(sizes.values(), default=LEAST_SHIFT) >= LEAST_SHIFT else 1,
        "grid": grid,
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


def _start(init: str, proposed: bool, found: Found) -> tuple[Initial | None, str]:
    """The network `init`, and a line on it; None for "scratch", and where a proposed one cannot be had."""
    if init == "scratch":
        return None, ""
    name, texts = init.removeprefix("hf-hub:"), [[f"a photo of a {name}"] for name in found.class_names.values()]
    try:
        network = open_initial(init, list(found.class_names), lambda: texts)
    except GenrobustError:
        if not proposed:
            raise
        return None, f"from scratch: no weights of {name} here. To fetch them: hf download {name}"
    return network, f"it starts from {name}: what that has seen, such as ImageNet, may hold your classes and styles"
