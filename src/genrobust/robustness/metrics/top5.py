"""Top-5 accuracy."""

from __future__ import annotations

import numpy as np

from genrobust.robustness.answers import Answers
from genrobust.robustness.metric import METRICS, Proportion
from genrobust.robustness.study_answers import AnsweredSet

K = 5


@METRICS.register("top5")
class Top5(Proportion):
    title = "Top-5 accuracy"
    note = (
        "the share of images with a right label among the five highest logits of the test set's own classes; equal "
        "logits count against the image"
    )

    def of_images(self, answers: Answers) -> np.ndarray:
        best = answers.of_right(np.maximum)
        return np.count_nonzero(answers.logits >= best[:, None], axis=1) <= K

    def gap(self, images: AnsweredSet) -> str:
        if len(images.classes) <= K:
            return f"over {len(images.classes)} classes it is always 100 %"
        return ""
