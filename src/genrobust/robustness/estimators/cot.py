"""Confidence optimal transport."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from genrobust.robustness.estimator import ESTIMATORS, Estimator, LabeledProbabilities


@ESTIMATORS.register("cot")
class ConfidenceOptimalTransport(Estimator):
    title = "COT"
    note = (
        "the mean probability of assigned classes: each image is assigned a class, so that classes are as frequent as "
        "among the clean images and the mean is as high as possible (Lu et al., 2023, arXiv:2305.15640)"
    )

    def estimate(self, clean: LabeledProbabilities, probabilities: np.ndarray) -> float:
        labels = np.repeat(np.arange(probabilities.shape[1]), _whole_counts(clean.class_shares, len(probabilities)))
        of_labels = probabilities[:, labels]
        images, assigned = linear_sum_assignment(of_labels, maximize=True)
        return float(of_labels[images, assigned].mean())


def _whole_counts(shares: np.ndarray, total: int) -> np.ndarray:
    """Split `total` by `shares`, which sum to 1, into whole numbers: int [C]. Largest remainders are rounded up."""
    exact = shares * total
    counts = np.floor(exact).astype(np.int64)
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: total - counts.sum()]] += 1
    return counts
