"""Accuracy on the worst group of images."""

from __future__ import annotations

import numpy as np

from genrobust.robustness.answers import Answers
from genrobust.robustness.metric import METRICS, ImageMetric
from genrobust.robustness.resampling import Measured
from genrobust.robustness.sets import AnsweredSet

MIN_IMAGES = 10  # of a group: fewer say little about its accuracy, and the lowest of many is then chance


@METRICS.register("worst_group")
class WorstGroup(ImageMetric):
    title = "Worst-group accuracy"
    note = (
        "the lowest top-1 accuracy on the images of one group, such as those of one designer or camera, among groups "
        f"with at least {MIN_IMAGES} images (Sagawa et al., 2020; WILDS); its intervals are over images, for these "
        "groups"
    )
    bounds = (0, 100)
    over_groups = False  # within a group nothing varies when groups are drawn anew

    def of_images(self, answers: Answers) -> np.ndarray:
        return answers.correct

    def combine(self, values: np.ndarray, images: AnsweredSet, weights: np.ndarray) -> np.ndarray:
        assert images.groups is not None  # else it has a gap there
        of_image = images.groups.of_image
        lowest = np.full((len(weights), len(values)), np.inf)
        for group in np.flatnonzero(_sizes(images) >= MIN_IMAGES):
            members = of_image == group
            drawn, right = weights[:, members], values.T[members].astype(np.float32)
            with np.errstate(invalid="ignore"):  # a resample without any image of the group
                lowest = np.fmin(lowest, drawn @ right / drawn.sum(axis=1, keepdims=True))
        # A resample without any image of these groups says nothing; sums of 32-bit floats end beside 0 or 1.
        return 100 * np.where(np.isinf(lowest), np.nan, lowest.round(5))

    def resample(self, values: np.ndarray, images: AnsweredSet, bootstrap: int, rng: np.random.Generator) -> Measured:
        # At 0 % and 100 % resampling shows no spread: there, replicates are of the posterior of Jeffreys' prior.
        measured = super().resample(values, images, bootstrap, rng)
        flat = np.nanmax(measured.draws, axis=0) == np.nanmin(measured.draws, axis=0)
        sizes = _sizes(images)
        n = sizes[sizes >= MIN_IMAGES].min()
        right = measured.point[flat] / 100 * n
        measured.draws[:, flat] = 100 * rng.beta(right + 0.5, n - right + 0.5, (bootstrap, len(right)))
        return measured

    def gap(self, images: AnsweredSet) -> str:
        if images.groups is None:
            return "its images have no groups"
        return f"no group has {MIN_IMAGES} images" if _sizes(images).max() < MIN_IMAGES else ""


def _sizes(images: AnsweredSet) -> np.ndarray:
    """The number of images of each group, or of the pictures that they were made from."""
    assert images.groups is not None
    of_image = images.groups.of_image
    if images.pictures is None:
        return np.bincount(of_image)
    of_pictures = np.unique(np.stack([of_image, images.pictures.of_image]), axis=1)[0]
    return np.bincount(of_pictures)
