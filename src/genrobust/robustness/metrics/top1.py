"""Top-1 accuracy."""

from __future__ import annotations

import numpy as np

from genrobust.robustness.answers import Answers
from genrobust.robustness.metric import METRICS, Proportion


@METRICS.register("top1")
class Top1(Proportion):
    title = "Top-1 accuracy"
    note = "the share of images whose highest logit, among the test set's own classes, is that of a right label"
    section = 0

    def of_images(self, answers: Answers) -> np.ndarray:
        return answers.correct
