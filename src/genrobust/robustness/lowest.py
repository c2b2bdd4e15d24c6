"""The lowest of several accuracies, such as those of classes or of groups of images."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from genrobust.robustness.answers import Answers
from genrobust.robustness.metric import ImageMetric
from genrobust.robustness.resampling import Measured
from genrobust.robustness.sets import AnsweredSet

MIN_IMAGES = 10  # of a part: fewer say little about its accuracy, and the lowest of many is then chance


class LowestAccuracy(ImageMetric):
    """The lowest top-1 accuracy among the parts of a test set that have at least `MIN_IMAGES` images, in percent.

    Images that were made from one picture count once.
    """

    bounds = (0, 100)
    part: ClassVar[str]

    @abstractmethod
    def part_of(self, images: AnsweredSet) -> np.ndarray | None:
        """Return the number of the part that each image belongs to, int [M]; None where the set has no parts."""

    def of_images(self, answers: Answers) -> np.ndarray:
        return answers.correct

    def combine(self, values: np.ndarray, images: AnsweredSet, weights: np.ndarray) -> np.ndarray:
        parts = self._parts(images)
        order = np.argsort(parts, kind="stable")
        ends = np.cumsum(np.bincount(parts))
        right, drawn = values.T[order].astype(np.float32), weights[:, order]
        lowest = np.full((len(weights), len(values)), np.inf)
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            if end - start >= MIN_IMAGES * images.copies:
                draws = drawn[:, start:end]
                with np.errstate(invalid="ignore"):  # a resample without any image of the part
                    lowest = np.fmin(lowest, draws @ right[start:end] / draws.sum(axis=1, keepdims=True))
        # A resample without any image of these parts says nothing; sums of 32-bit floats end beside 0 or 1.
        return 100 * np.where(np.isinf(lowest), np.nan, lowest.round(5))

    def resample(self, values: np.ndarray, images: AnsweredSet, bootstrap: int, rng: np.random.Generator) -> Measured:
        # At 0 % and 100 % resampling shows no spread: there, replicates are of the posterior of Jeffreys' prior.
        measured = super().resample(values, images, bootstrap, rng)
        flat = np.nanmax(measured.draws, axis=0) == np.nanmin(measured.draws, axis=0)
        counts = np.bincount(self._parts(images)) // images.copies
        n = counts[counts >= MIN_IMAGES].min()
        right = measured.point[flat] / 100 * n
        measured.draws[:, flat] = 100 * rng.beta(right + 0.5, n - right + 0.5, (bootstrap, len(right)))
        return measured

    def gap(self, images: AnsweredSet) -> str:
        parts = self.part_of(images)
        if parts is None:
            return f"its images have no {self.part}s"
        most = np.bincount(parts).max() // images.copies
        return f"no {self.part} has {MIN_IMAGES} images" if most < MIN_IMAGES else ""

    def _parts(self, images: AnsweredSet) -> np.ndarray:
        parts = self.part_of(images)
        assert parts is not None  # else it has a gap there
        return parts
