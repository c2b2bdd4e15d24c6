"""Accuracy on the worst group of images."""

from __future__ import annotations

import numpy as np

from genrobust.robustness.lowest import MIN_IMAGES, LowestAccuracy
from genrobust.robustness.metric import METRICS
from genrobust.robustness.sets import AnsweredSet


@METRICS.register("worst_group")
class WorstGroup(LowestAccuracy):
    title = "Worst-group accuracy"
    note = (
        "the lowest top-1 accuracy on the images of one group, such as those of one designer or camera, among groups "
        f"with at least {MIN_IMAGES} images (Sagawa et al., 2020; WILDS); its intervals are over images, for these "
        "groups"
    )
    part = "group"
    over_groups = False  # within a group nothing varies when groups are drawn anew

    def part_of(self, images: AnsweredSet) -> np.ndarray | None:
        return None if images.groups is None else images.groups.of_image
