"""Expected calibration error."""

from __future__ import annotations

import numpy as np

from genrobust.robustness.answers import Answers
from genrobust.robustness.metric import METRICS, ImageMetric
from genrobust.robustness.study_answers import AnsweredSet

BINS = 15


@METRICS.register("ece")
class ExpectedCalibrationError(ImageMetric):
    title = "Calibration error"
    note = (
        "the expected calibration error: the gap between accuracy and confidence, the highest probability, averaged "
        f"over {BINS} bins of equal width by their images (Guo et al., 2017); probabilities are the softmax of the "
        "logits over the test set's own classes, for zero-shot CLIP of its scaled similarities"
    )
    higher_is_better = False
    bounds = (0, 100)

    def of_images(self, answers: Answers) -> np.ndarray:
        confidence = answers.confidence
        return np.stack([confidence, answers.correct], axis=1, dtype=np.float32)

    def combine(self, values: np.ndarray, images: AnsweredSet, weights: np.ndarray) -> np.ndarray:
        total = weights.sum(axis=1)
        errors = np.empty((len(weights), len(values)))
        for t, (confidence, correct) in enumerate(np.moveaxis(values, 2, 1)):
            # The upper edge belongs to a bin, as in Guo et al.
            bin_of = np.clip(np.ceil(confidence * BINS) - 1, 0, BINS - 1)
            in_bin = bin_of[:, None] == np.arange(BINS)
            gaps = np.where(in_bin, (correct - confidence)[:, None], np.float32(0))
            errors[:, t] = 100 * np.abs(weights @ gaps).sum(axis=1) / total
        return errors
