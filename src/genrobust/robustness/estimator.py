"""Estimators of the accuracy on images without labels. An estimator is a class in its own file in `estimators`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from genrobust.core import Registry


@dataclass(frozen=True, slots=True)
class LabeledProbabilities:
    """A classifier's probabilities of C classes for N labeled images.

    Attributes:
        probabilities: float [N, C]. Each row sums to 1.
        labels: The column of the right class, int [N].
    """

    probabilities: np.ndarray
    labels: np.ndarray

    @property
    def accuracy(self) -> float:
        """The share of images whose most likely class is right."""
        return float((self.probabilities.argmax(axis=1) == self.labels).mean())

    @property
    def class_shares(self) -> np.ndarray:
        """The share of images of each class: float [C]."""
        return np.bincount(self.labels, minlength=self.probabilities.shape[1]) / len(self.labels)


class Estimator(ABC):
    """An estimator of accuracy without labels.

    Attributes:
        title: Its name in tables.
        note: How it estimates, in a sentence, with the paper.
    """

    title: ClassVar[str]
    note: ClassVar[str]

    @abstractmethod
    def estimate(self, clean: LabeledProbabilities, probabilities: np.ndarray) -> float:
        """Estimate the accuracy of a classifier on images without labels, from 0 to 1.

        The value may be biased: `estimate_accuracies` corrects it on the labeled shifts.

        Args:
            clean: The classifier's probabilities for labeled images that are not shifted.
            probabilities: Those for the images without labels, over the same classes: float [N, C].
        """


ESTIMATORS: Registry[type[Estimator]] = Registry("estimator", "genrobust.estimators", "genrobust.robustness.estimators")
