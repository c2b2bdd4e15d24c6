"""Macro F1."""

from __future__ import annotations

import numpy as np

from genrobust.robustness.answers import Answers
from genrobust.robustness.metric import METRICS, ImageMetric
from genrobust.robustness.sets import AnsweredSet


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
        from scipy.sparse import csc_array  # which takes a tenth of a second to load

        models, classes = len(values), len(images.classes)
        labels, weights = np.searchsorted(images.classes, images.labels), np.ascontiguousarray(weights.T)
        right = (values < 0).astype(np.float32)

        def sums(counted: np.ndarray, columns: np.ndarray) -> np.ndarray:
            """The weights of the images that are `counted`, by class: [T, classes, B] of arrays [T, M]."""
            rows = columns + classes * np.arange(len(columns))[:, None]
            ends = np.arange(0, rows.size + 1, len(rows))
            of_class = csc_array((counted.T.ravel(), rows.T.ravel(), ends), shape=(len(rows) * classes, len(weights)))
            return (of_class @ weights).reshape(len(rows), classes, -1)

        (labeled,) = sums(np.ones((1, len(labels)), dtype=np.float32), labels[None])
        predicted = sums(np.ones_like(right), np.where(right > 0, labels, values))
        hits = sums(right, np.broadcast_to(labels, (models, len(labels))))
        with np.errstate(invalid="ignore"):  # a class without any image in a resample
            f1 = np.where(labeled > 0, 2 * hits / (labeled + predicted), np.nan)
        return 100 * np.nanmean(f1, axis=1, dtype=float).T
