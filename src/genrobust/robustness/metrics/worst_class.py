"""Accuracy on the worst class."""

from __future__ import annotations

import numpy as np

from genrobust.robustness.lowest import MIN_IMAGES, LowestAccuracy
from genrobust.robustness.metric import METRICS
from genrobust.robustness.sets import AnsweredSet


@METRICS.register("worst_class")
class WorstClass(LowestAccuracy):
    title = "Worst-class accuracy"
    note = (
        f"the lowest top-1 accuracy on the images of one label, among labels with at least {MIN_IMAGES}; chance lowers "
        "it where labels have few images, so compare it on the same test set only"
    )
    part = "class"

    def part_of(self, images: AnsweredSet) -> np.ndarray:
        return images.labels
