"""Average confidence."""

from __future__ import annotations

import numpy as np

from genrobust.robustness.estimator import ESTIMATORS, Estimator, LabeledProbabilities


@ESTIMATORS.register("confidence")
class AverageConfidence(Estimator):
    title = "average confidence"
    note = "the mean probability of the predicted class"

    def estimate(self, clean: LabeledProbabilities, probabilities: np.ndarray) -> float:
        del clean
        return float(probabilities.max(axis=1).mean())
