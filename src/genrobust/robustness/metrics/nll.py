"""Negative log-likelihood."""

from __future__ import annotations

import numpy as np

from genrobust.robustness.answers import Answers
from genrobust.robustness.metric import METRICS, ImageMetric


@METRICS.register("nll")
class NegativeLogLikelihood(ImageMetric):
    title = "Negative log-likelihood"
    note = (
        "minus the log of the probability of the right label (of any right one, if there are several), averaged over "
        "images; probabilities are as for the calibration error"
    )
    unit = "nats"
    higher_is_better = False
    digits = 3
    bounds = (0, np.inf)

    def of_images(self, answers: Answers) -> np.ndarray:
        return answers.normalizer - answers.of_right(np.logaddexp)
