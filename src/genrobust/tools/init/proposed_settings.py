"""Proposes the settings of a recipe that fit a user's images and this machine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from genrobust.classifiers import Initial, has_fixed_size
from genrobust.core import ImageSet, StudyData, UserError, available_devices, bare_name, cores
from genrobust.tools.init.starting_network import choose_start
from genrobust.tools.init.user_images import UserImages

SEEDS = 3  # of each arm: fewer allow no general conclusion
STUDY_SECONDS = 1200  # of training on all cores, at most, if the fewest steps allow it
# A photograph has this median shorter side in pixels, and channels that differ by this many gray levels.
PHOTOGRAPH = 64
COLORED = 3
# Pixels of a square input from scratch, without and with a GPU: at 224 px a step takes twelve times as long as at 64.
LARGEST = (64, 224)
# Pixels of a square input of a pretrained network without a GPU. On a shifted validation set of 252 paintings and
# cartoons, EfficientNet-Lite0 reached 48.4 % with 128 px in 34 s, 51.6 % with 160 px in 64 s, and 52.8 % with 224 px in
# 178 s of training, one seed each.
TUNED_SIZE = 160
GRID = 6  # baseline models: twice the three that a line needs
LEAST_CLEAN = 100  # test images: with fewer, one moves clean accuracy by more than a point, and a line fits noise
LEAST_SHIFT = 30  # images of a shifted set that is averaged: one image of fewer moves accuracy by over three points
IMBALANCED = 3  # times as many images of a class as of another: then classes are drawn equally often
SAMPLED = 32  # images whose sizes and colors are read
LEAST_PER_CLASS = 10  # generated images
MOST_PER_CLASS = 1300  # generated images: ImageNet has as many real ones
# Steps of a generator of one's own: 50 passes over the images. With 2,400 steps one did not tell 25 classes apart.
OWN_PASSES = 50
OWN_BATCH = 32
OWN_STEPS = (5000, 8000)


class Pace(NamedTuple):
    """The length and speed of trainings of one kind of network."""

    passes: int  # over the images of the largest arm
    least: int  # steps
    most: int
    batch: int  # at most
    seconds: float  # of a core for one pixel of an image in a step


SCRATCH = Pace(30, 200, 50_000, 128, 0.0015 / 64**2)  # where small networks level off; half a ResNet-10's width
# With 60 steps on 287 photographs, EfficientNet-Lite0 classified 98 % of new ones. The speed is that of a ResNet-18.
TUNED = Pace(4, 60, 2000, 32, 0.1 / 224**2)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user asked for.

    Attributes:
        pretrained: The network to start from, as `train.init` names it, or "scratch". None proposes one.
        server: The address of a server that generates, and its name of the model.
        own_generator: Generate with a small generator that is trained on the images, by class and style.
    """

    pretrained: str | None = None
    server: tuple[str, str] | None = None
    own_generator: bool = False


class GeneratedImages(NamedTuple):
    """The generated images of a study."""

    is_used: bool  # by its arms
    per_class: int
    added: int  # to the training images
    own_steps: int  # of a generator of one's own


def propose_length(pace: Pace, real: int, largest: int, size: int, seconds: float) -> dict[str, int]:
    """Propose the batch size and steps of a training.

    Args:
        real: The number of training images.
        largest: The number of images of the largest arm.
        size: Of images, in pixels.
        seconds: The time of one core for the training.
    """
    batch = min(pace.batch, max(8, 2 ** int(math.log2(max(1, real / 8)))))
    affordable = seconds / (batch * pace.seconds * size**2)
    wanted = min(pace.most, affordable, pace.passes * largest / batch)
    steps = math.ceil(max(pace.least, wanted) / 10) * 10
    return {"batch_size": batch, "steps": steps}


def propose(images: UserImages, wishes: Wishes) -> dict[str, Any]:
    """Propose the values of the template that depend on the images and on this machine.

    Raises:
        UserError: There is no such network, no readable image, or an own generator has no images of other styles.
    """
    data = images.data
    if wishes.own_generator and data.retrieval is None:
        raise UserError("--own-generator: a generator learns other styles from labeled images of them: add --retrieved")
    gpu = available_devices()[0] != "cpu"
    side, colored = _look(data.train)
    photographs = colored and side >= PHOTOGRAPH
    start = choose_start(wishes.pretrained, photographs, gpu, images.class_names)
    network = start.network
    generated = _propose_generated(images, wishes, gpu)
    counts = images.counts(data.train)
    largest = len(data.train) + max(generated.added, 0 if data.retrieval is None else len(data.retrieval))
    shift_sizes = {shift: len(data.tests[shift]) for shift in data.shifts}
    has_line = network is None and bool(shift_sizes) and len(data.tests[data.clean]) >= LEAST_CLEAN
    grid = GRID if has_line else 0
    trainings = SEEDS * _count_arms(data, photographs, generated.is_used, network is not None) + grid
    if network is None:
        pace = SCRATCH
        size = max(32, min(side, LARGEST[gpu]) // 32 * 32)
    else:
        pace = TUNED
        size = _tuned_size(network, gpu)
    seconds = math.inf if gpu else STUDY_SECONDS * cores() / trainings
    return {
        "own": wishes.own_generator,
        "server": wishes.server,
        "gpu": gpu,
        "cores": cores(),
        "side": side,
        "photographs": photographs,
        "start": start.line,
        "with_generated": generated.is_used,
        "own_steps": generated.own_steps,
        "per_class": generated.per_class,
        "pseudo_labels": _propose_pseudo_labels(data),
        "largest": largest,
        "size": size,
        "own_size": size if network is None else network.blueprint.image_size,
        "plan": propose_length(pace, len(data.train), largest, size, seconds),
        "init": None if network is None else network.opened.name,
        "knows_classes": network is not None and _knows(network, images),
        "trainings": trainings,
        "balance": counts.max() >= IMBALANCED * counts.min(),
        "chosen_by": None if data.shifted_val is not None else _choosing_shift(shift_sizes),
        "min_images": LEAST_SHIFT if max(shift_sizes.values(), default=LEAST_SHIFT) >= LEAST_SHIFT else 1,
        "grid": grid,
    }


def _propose_generated(images: UserImages, wishes: Wishes, gpu: bool) -> GeneratedImages:
    """Propose the generated images of the study."""
    data = images.data
    learned_counts = [images.counts(data.train)]
    if wishes.own_generator and data.retrieval is not None:
        learned_counts.append(images.counts(data.retrieval))
    # As many as the median class has real ones: of the training images, and of the retrieved ones if they are learned.
    median_real = sum(float(np.median(counts)) for counts in learned_counts)
    per_class = min(MOST_PER_CLASS, max(LEAST_PER_CLASS, round(median_real)))
    learned = sum(int(counts.sum()) for counts in learned_counts)
    wanted = OWN_PASSES * learned / OWN_BATCH
    whole_hundreds = math.ceil(wanted / 100) * 100
    least, most = OWN_STEPS
    own_steps = min(most, max(least, whole_hundreds))
    is_used = gpu or wishes.server is not None or wishes.own_generator or data.generated is not None
    if data.generated is not None:
        added = len(data.generated)
    elif is_used:
        added = per_class * len(data.labels)
    else:
        added = 0
    return GeneratedImages(is_used, per_class, added, own_steps)


def _count_arms(data: StudyData, photographs: bool, with_generated: bool, pretrained: bool) -> int:
    """Count the arms of the template: real and RandAugment, and those that depend on the images."""
    others = [photographs, with_generated, with_generated, data.retrieval is not None, bool(data.unlabeled), pretrained]
    return 2 + sum(others)


def _propose_pseudo_labels(data: StudyData) -> dict[str, int]:
    """Propose how many images without labels to use of each predicted class, by set.

    A quarter of the images, if all classes were equally frequent: the labels of the most confident images are right
    more often, and no class gets much more than the others.
    """
    classes = len(data.labels)
    return {name: max(1, round(len(images) / classes / 4)) for name, images in data.unlabeled.items()}


def _tuned_size(network: Initial, gpu: bool) -> int:
    own = network.blueprint.image_size
    if gpu or has_fixed_size(network.blueprint.architecture):
        return own
    return min(own, TUNED_SIZE)


def _knows(network: Initial, images: UserImages) -> bool:
    """Return whether the network has a logit for each class."""
    own = set(map(bare_name, network.opened.classes))
    return set(map(bare_name, images.class_names)) <= own


def _choosing_shift(sizes: dict[str, int]) -> str | None:
    """Return the largest shift, of which a third chooses; None if there is only one, or none is large enough."""
    divisible = [shift for shift, size in sizes.items() if size >= 3 * LEAST_SHIFT]
    if len(sizes) < 2:
        return None
    return max(divisible, key=lambda shift: sizes[shift], default=None)


def _look(images: ImageSet) -> tuple[int, bool]:
    """Return the median shorter side of a sample, in pixels, and whether an image has colors."""
    sides = []
    colored = False
    # Images are in the order of a hash of their names.
    for index in range(min(len(images), SAMPLED)):
        try:
            pixels = np.asarray(images.image(index))
        except UserError:
            # The study reports images that cannot be read.
            continue
        sides.append(min(pixels.shape[:2]))
        colored = colored or bool(np.ptp(pixels, axis=2).max() >= COLORED)
    if not sides:
        raise UserError(f"--train: cannot read any of the sampled images, such as {images.keys[0]}")
    return round(median(sides)), colored
