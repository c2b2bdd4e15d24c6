"""Top-1 accuracy of classifiers that were adapted to the test set."""

from __future__ import annotations

from genrobust.robustness.metric import METRICS, Proportion


@METRICS.register("top1_adapted")
class Top1Adapted(Proportion):
    title = "Top-1 accuracy, adapted"
    note = (
        "top-1 accuracy after the means and variances of batch norms are measured on up to 256 of the test set's own "
        "unlabeled images (Schneider et al., 2020), for a family of corruptions on all its sets at once; a classifier "
        "without batch norms is not changed"
    )
    adapted = True
