"""Label agreement: how often a classifier or a zero-shot CLIP predicts the label of an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

TAKEN_FOR = 3  # most frequent wrong predictions that are listed for each class


@dataclass(frozen=True, slots=True)
class ClassAgreement:
    """Predictions for the `n` images of class `label`.

    Attributes:
        agreeing: Number of correct ones.
        taken_for: The most frequent wrong classes, each with its number.
    """

    label: int
    n: int
    agreeing: int
    taken_for: tuple[tuple[int, int], ...]

    @property
    def share(self) -> float:
        return self.agreeing / self.n


@dataclass(frozen=True, slots=True)
class Agreement:
    """Label agreement over all images, as a fraction, by class (worst first) and by style (in order of appearance)."""

    share: float
    n: int
    classes: tuple[ClassAgreement, ...]
    styles: dict[str, float]


def agreement(logits: np.ndarray, labels: np.ndarray, styles: Sequence[str]) -> Agreement:
    """Compare the prediction with the label of each image.

    Args:
        logits: Float [N, K], N at least 1.
        labels: Int [N].
        styles: Style of each image, "" where unknown.
    """
    predicted = logits.argmax(axis=1)
    correct = predicted == labels
    classes = []
    for label in np.unique(labels).tolist():
        in_class = labels == label
        others = Counter(predicted[in_class & ~correct].tolist())
        most_frequent = sorted(others.items(), key=lambda item: (-item[1], item[0]))[:TAKEN_FOR]
        agreeing = int((in_class & correct).sum())
        classes.append(ClassAgreement(label, int(in_class.sum()), agreeing, tuple(most_frequent)))
    classes.sort(key=lambda c: (c.share, c.label))
    style_of_image = np.asarray(styles)
    by_style: dict[str, float] = {}
    for style in dict.fromkeys(styles):
        if style:
            by_style[style] = float(correct[style_of_image == style].mean())
    return Agreement(float(correct.mean()), len(labels), tuple(classes), by_style)


def confidence(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the softmax probability of each image's label, float64 [N], from `logits` [N, K]."""
    return softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels]


def least_agreeing(logits: np.ndarray, labels: np.ndarray, count: int) -> list[int]:
    """Return the indices of up to `count` images with a wrong prediction, the most confident mistakes first."""
    odds = confidence(logits, labels)
    wrong = np.flatnonzero(logits.argmax(axis=1) != labels)
    return wrong[np.argsort(odds[wrong], kind="stable")][:count].tolist()
