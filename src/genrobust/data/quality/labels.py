"""Label agreement: how often a classifier or a zero-shot CLIP takes an image for its label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

TAKEN_FOR = 3  # wrong classes counted for each class


@dataclass(frozen=True, slots=True)
class ClassAgreement:
    """Of the `n` images of class `label`, `agreeing` are taken for it; `taken_for` counts the commonest others."""

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
    """Compare the largest of `logits`, float [N, K], with the label, int [N] (N at least 1)."""
    taken = logits.argmax(axis=1)
    right = taken == labels
    classes = []
    for label in np.unique(labels).tolist():
        in_class = labels == label
        others = Counter(taken[in_class & ~right].tolist())
        commonest = sorted(others.items(), key=lambda item: (-item[1], item[0]))[:TAKEN_FOR]
        classes.append(ClassAgreement(label, int(in_class.sum()), int((in_class & right).sum()), tuple(commonest)))
    classes.sort(key=lambda c: (c.share, c.label))
    names = np.asarray(styles)
    by_style = {style: float(right[names == style].mean()) for style in dict.fromkeys(styles) if style}
    return Agreement(float(right.mean()), len(labels), tuple(classes), by_style)


def confidence(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the softmax probability of each image's label, float64 [N], from `logits` [N, K]."""
    return softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels]


def least_agreeing(logits: np.ndarray, labels: np.ndarray, count: int) -> list[int]:
    """Find the indices of up to `count` images that are not taken for their label, the surest mistakes first."""
    odds = confidence(logits, labels)
    wrong = np.flatnonzero(logits.argmax(axis=1) != labels)
    return wrong[np.argsort(odds[wrong], kind="stable")][:count].tolist()
