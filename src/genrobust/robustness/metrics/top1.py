"""Top-1 accuracy."""

from __future__ import annotations

from genrobust.robustness.metric import METRICS, Proportion


@METRICS.register("top1")
class Top1(Proportion):
    title = "Top-1 accuracy"
    note = "the share of images whose highest logit, among the test set's own classes, belongs to a right label"
    section = 0
