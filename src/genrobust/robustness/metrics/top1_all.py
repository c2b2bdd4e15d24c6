"""Top-1 accuracy over every class of the study."""

from __future__ import annotations

from genrobust.core import Summary
from genrobust.robustness.metric import METRICS, Proportion


@METRICS.register("top1_all")
class Top1OverAll(Proportion):
    title = "Top-1 over all classes"
    note = "top-1 accuracy with the logits of all classes, on sets that cover a part of them"
    all_classes = True

    def informs(self, summary: Summary) -> bool:
        return any(summary.paired[test] != summary.clean for test in summary.tests)
