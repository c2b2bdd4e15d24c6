"""Macro F1."""

from __future__ import annotations

import numpy as np

from genrobust.robustness.answers import Answers
from genrobust.robustness.metric import METRICS, ImageMetric
from genrobust.robustness.study_answers import AnsweredSet


@METRICS.register("macro_f1")
class MacroF1(ImageMetric):
    title = "Macro F1"
    note = (
        "the harmonic mean of precision and recall of each class, averaged over the classes that have images: rare "
        "classes count as much as common ones (WILDS ranks iWildCam by it)"
    )
    bounds = (0, 100)

    def of_images(self, answers: Answers) -> np.ndarray:
        return answers.mistaken_for

    def combine(self, values: np.ndarray, images: AnsweredSet, weights: np.ndarray) -> np.ndarray:
        classes = len(images.classes)
        labels = np.searchsorted(images.classes, images.labels)
        is_right = values < 0
        of_images = np.ascontiguousarray(weights.T)
        everything = np.ones_like(values, dtype=np.float32)
        labeled = _sum_by_class(everything[:1], labels[None], classes, of_images)
        predicted = _sum_by_class(everything, np.where(is_right, labels, values), classes, of_images)
        labels_of_all = np.broadcast_to(labels, values.shape)
        hits = _sum_by_class(is_right.astype(np.float32), labels_of_all, classes, of_images)
        # A class without any image in a resample has no F1.
        with np.errstate(invalid="ignore"):
            f1 = np.where(labeled > 0, 2 * hits / (labeled + predicted), np.nan)
        return 100 * np.nanmean(f1, axis=1, dtype=float).T


def _sum_by_class(counted: np.ndarray, class_of: np.ndarray, classes: int, weights: np.ndarray) -> np.ndarray:
    """Sum the weights of the counted images, by checkpoint and class: [T, C, B].

    Args:
        counted: float32 [T, M], 1 for images that count.
        class_of: int [T, M], the class of each image.
        weights: float32 [M, B], of each image in each resample.
    """
    # Loading it takes a tenth of a second.
    from scipy.sparse import csc_array

    # A sparse matrix with a row for each checkpoint and class, and a column for each image.
    checkpoints = len(class_of)
    rows = class_of + classes * np.arange(checkpoints)[:, None]
    # A column has one entry for each checkpoint.
    bounds = np.arange(0, rows.size + 1, checkpoints)
    shape = (checkpoints * classes, len(weights))
    of_class = csc_array((counted.T.ravel(), rows.T.ravel(), bounds), shape=shape)
    return (of_class @ weights).reshape(checkpoints, classes, -1)
