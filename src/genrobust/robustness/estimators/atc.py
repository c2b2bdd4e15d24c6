"""Average thresholded confidence."""

from __future__ import annotations

import numpy as np

from genrobust.robustness.estimator import ESTIMATORS, Estimator, LabeledProbabilities


@ESTIMATORS.register("atc")
class AverageThresholdedConfidence(Estimator):
    title = "ATC"
    note = (
        "the share of images with a lower entropy than a threshold, which as large a share of clean images is below as "
        "the classifier gets right (Garg et al., 2022, arXiv:2201.04234)"
    )

    def estimate(self, clean: LabeledProbabilities, probabilities: np.ndarray) -> float:
        threshold = np.quantile(_entropy(clean.probabilities), clean.accuracy)
        return float((_entropy(probabilities) <= threshold).mean())


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    """Return the entropy of each row in nats: [N]."""
    smallest = np.finfo(probabilities.dtype).tiny
    return -(probabilities * np.log(np.maximum(probabilities, smallest))).sum(axis=1)
