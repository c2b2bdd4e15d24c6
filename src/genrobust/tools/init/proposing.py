"""Proposes how long to train, for the recipe that `init` writes."""

from __future__ import annotations

import math
from dataclasses import dataclass

SEEDS = 3  # of each arm: fewer allow no general conclusion
STUDY_SECONDS = 1200  # of training on all cores, at most, where the fewest steps allow


@dataclass(frozen=True)
class Pace:
    """How long networks of a kind train.

    Attributes:
        passes: Over the images of the largest arm.
        steps: The fewest and the most.
        batch: The largest batch.
        seconds: What a core takes for a pixel of an image in a training step.
    """

    passes: int
    steps: tuple[int, int]
    batch: int
    seconds: float


SCRATCH = Pace(30, (200, 50_000), 128, 0.0015 / 64**2)  # where small networks level off; half a ResNet-10's width
TUNED = Pace(10, (60, 2000), 32, 0.1 / 224**2)  # as in WiSE-FT's paper; a ResNet-18


def propose(pace: Pace, real: int, largest: int, size: int, trainings: int, workers: int) -> dict[str, int]:
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
