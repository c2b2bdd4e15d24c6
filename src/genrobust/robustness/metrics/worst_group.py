"""Accuracy on the worst group of images."""

from __future__ import annotations

import numpy as np

from genrobust.robustness.answers import Answers
from genrobust.robustness.measured import Measured
from genrobust.robustness.metric import METRICS, ImageMetric
from genrobust.robustness.study_answers import AnsweredSet

# Fewer images say little about the accuracy of a group, and the lowest accuracy of many groups is then chance.
MIN_IMAGES = 10


@METRICS.register("worst_group")
class WorstGroup(ImageMetric):
    title = "Worst-group accuracy"
    note = (
        "the lowest top-1 accuracy on the images of one group, such as one designer or camera, among groups "
        f"with at least {MIN_IMAGES} images (Sagawa et al., 2020; WILDS); its intervals are over images, for these "
        "groups"
    )
    bounds = (0, 100)
    # Within a group nothing varies when whole groups are drawn.
    over_groups = False

    def of_images(self, answers: Answers) -> np.ndarray:
        return answers.correct

    def combine(self, values: np.ndarray, images: AnsweredSet, weights: np.ndarray) -> np.ndarray:
        # Without groups, `gap` says why the metric is not measured.
        assert images.groups is not None
        lowest = np.full((len(weights), len(values)), np.inf)
        for group in np.flatnonzero(_group_sizes(images) >= MIN_IMAGES):
            in_group = images.groups.of_image == group
            of_group = weights[:, in_group]
            right = values.T[in_group].astype(np.float32)
            # A resample may have no image of the group.
            with np.errstate(invalid="ignore"):
                accuracy = of_group @ right / of_group.sum(axis=1, keepdims=True)
            lowest = np.fmin(lowest, accuracy)
        # The weights of pictures are fractions, so an accuracy of 0 or 1 may be off by a rounding error. `resample`
        # looks for draws that are all equal.
        lowest = lowest.round(5)
        return 100 * np.where(np.isinf(lowest), np.nan, lowest)

    def resample(self, values: np.ndarray, images: AnsweredSet, bootstrap: int, rng: np.random.Generator) -> Measured:
        measured = super().resample(values, images, bootstrap, rng)
        # At 0 % and 100 %, resampling shows no spread. Replicates are then of the posterior of Jeffreys' prior, for the
        # smallest group, which gives the widest interval.
        is_flat = np.nanmax(measured.draws, axis=0) == np.nanmin(measured.draws, axis=0)
        sizes = _group_sizes(images)
        n = sizes[sizes >= MIN_IMAGES].min()
        right = measured.point[is_flat] / 100 * n
        measured.draws[:, is_flat] = 100 * rng.beta(right + 0.5, n - right + 0.5, (bootstrap, len(right)))
        return measured

    def gap(self, images: AnsweredSet) -> str:
        if images.groups is None:
            return "its images have no groups"
        if _group_sizes(images).max() < MIN_IMAGES:
            return f"no group has {MIN_IMAGES} images"
        return ""


def _group_sizes(images: AnsweredSet) -> np.ndarray:
    """Return the number of images of each group, or of the pictures that they were made from."""
    assert images.groups is not None
    of_image = images.groups.of_image
    if images.pictures is None:
        return np.bincount(of_image)
    group_and_picture = np.stack([of_image, images.pictures.of_image])
    group_of_picture = np.unique(group_and_picture, axis=1)[0]
    return np.bincount(group_of_picture)
