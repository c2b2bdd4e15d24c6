"""Accuracy on the worst class."""

from __future__ import annotations

import numpy as np

from genrobust.robustness.answers import Answers
from genrobust.robustness.metric import METRICS, ImageMetric
from genrobust.robustness.resampling import Measured
from genrobust.robustness.sets import AnsweredSet

MIN_IMAGES = 10  # of a class: fewer say little about its accuracy, and the lowest of many is then chance


@METRICS.register("worst_class")
class WorstClass(ImageMetric):
    title = "Worst-class accuracy"
    note = (
        f"the lowest top-1 accuracy on the images of one label, among labels with at least {MIN_IMAGES}; chance lowers "
        "it where labels have few images, so compare it on the same test set only"
    )
    bounds = (0, 100)

    def of_images(self, answers: Answers) -> np.ndarray:
        return answers.correct

    def combine(self, values: np.ndarray, images: AnsweredSet, weights: np.ndarray) -> np.ndarray:
        order = np.argsort(images.labels, kind="stable")
        ends = np.cumsum(np.bincount(images.labels))
        right, drawn = values.T[order].astype(np.float32), weights[:, order]
        lowest = np.full((len(weights), len(values)), np.inf)
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            if end - start >= MIN_IMAGES:
                draws = drawn[:, start:end]
                with np.errstate(invalid="ignore"):  # a resample without any image of the class
                    lowest = np.fmin(lowest, draws @ right[start:end] / draws.sum(axis=1, keepdims=True))
        # A resample without any image of these classes says nothing; sums of 32-bit floats end beside 0 or 1.
        return 100 * np.where(np.isinf(lowest), np.nan, lowest.round(5))

    def resample(self, values: np.ndarray, images: AnsweredSet, bootstrap: int, rng: np.random.Generator) -> Measured:
        # At 0 % and 100 % resampling shows no spread: there, replicates are of the posterior of Jeffreys' prior.
        measured = super().resample(values, images, bootstrap, rng)
        flat = np.nanmax(measured.draws, axis=0) == np.nanmin(measured.draws, axis=0)
        counts = np.bincount(images.labels)
        n = counts[counts >= MIN_IMAGES].min()
        right = measured.point[flat] / 100 * n
        measured.draws[:, flat] = 100 * rng.beta(right + 0.5, n - right + 0.5, (bootstrap, len(right)))
        return measured

    def gap(self, images: AnsweredSet) -> str:
        few = np.bincount(images.labels).max() < MIN_IMAGES
        return f"no class has {MIN_IMAGES} images" if few else ""
