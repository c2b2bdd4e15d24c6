"""The predictions of a classifier on a test set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Predictions:
    """The logits of one classifier on one test set. Every metric is a pure function of these.

    Attributes:
        logits: float [N, K], or log-probabilities.
        labels: int [N], indices of classes.
        keys: The names of the N images, which identify the same image in other predictions. By default their numbers.
        classes: The ids of the K classes. By default their numbers.
        protocol: How the images were prepared ("64 px: shorter side resized ..."). Only accuracies with the same
            protocol are compared.
        accepted: For each image, the labels that count as right (one-to-many maps such as ObjectNet's); None if only
            its label does.

    Raises:
        ValueError: Labels are no whole numbers, or have more than one dimension; logits are no real numbers.
    """

    test_set: str
    logits: np.ndarray
    labels: np.ndarray
    keys: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    protocol: str = ""
    accepted: tuple[tuple[int, ...], ...] | None = None

    def __post_init__(self) -> None:
        logits = np.asanyarray(self.logits)
        # Sums of half-precision numbers would be rounded to three digits.
        if logits.dtype.kind in "iu" or logits.dtype == np.float16:
            logits = logits.astype(np.float32)
        if logits.dtype.kind != "f":
            raise ValueError(f"logits: give a number for each image and class, not {logits.dtype} {logits.shape}")
        labels = np.asarray(self.labels)
        if labels.ndim != 1 or (labels.size and not np.issubdtype(labels.dtype, np.integer)):
            raise ValueError(f"labels: give the number of a class for each image, not {labels.dtype} {labels.shape}")
        # `robustness` reports logits of another shape, with the name of the test set.
        images, classes = (*logits.shape, 0, 0)[:2]
        object.__setattr__(self, "logits", logits)
        object.__setattr__(self, "labels", labels.astype(np.int64, copy=False))
        object.__setattr__(self, "keys", tuple(self.keys) or _number(images))
        object.__setattr__(self, "classes", self.classes or _number(classes))


def _number(count: int) -> tuple[str, ...]:
    return tuple(str(i) for i in range(count))
