"""The nuclear norm of the probabilities."""

from __future__ import annotations

import numpy as np

from genrobust.robustness.estimator import ESTIMATORS, Estimator, LabeledProbabilities


@ESTIMATORS.register("nuclear-norm")
class NuclearNorm(Estimator):
    title = "nuclear norm"
    note = (
        "the sum of the singular values of the probabilities, divided by its maximum: it is high if predictions are "
        "confident and spread over the classes (Deng et al., 2023, arXiv:2302.01094)"
    )

    def estimate(self, clean: LabeledProbabilities, probabilities: np.ndarray) -> float:
        del clean
        images, classes = probabilities.shape
        return float(np.linalg.norm(probabilities, "nuc") / np.sqrt(images * min(images, classes)))
