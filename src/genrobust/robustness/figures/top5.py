"""Top-5 accuracy."""

from __future__ import annotations

import numpy as np

from genrobust.robustness.answers import Answers
from genrobust.robustness.figure import FIGURES, Proportion
from genrobust.robustness.sets import AnsweredSet

K = 5


@FIGURES.register("top5")
class Top5(Proportion):
    title = "Top-5 accuracy"
    note = "the share of images with a right label among the five highest logits of the test set's own classes"

    def of_images(self, answers: Answers) -> np.ndarray:
        logits = answers.logits
        at = np.where(answers.right, logits, -np.inf).argmax(axis=1)[:, None]
        best = np.take_along_axis(logits, at, axis=1)
        ahead = np.count_nonzero(logits > best, axis=1)
        ahead += np.count_nonzero((logits == best) & (np.arange(logits.shape[1]) < at), axis=1)  # as in top-1
        return ahead < K

    def gap(self, images: AnsweredSet) -> str:
        return f"over {len(images.classes)} classes it is always 100 %" if len(images.classes) <= K else ""
