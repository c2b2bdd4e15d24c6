"""Top-1 accuracy of classifiers that were adapted to the test set."""

from __future__ import annotations

from genrobust.robustness.metric import METRICS, Proportion


@METRICS.register("top1_adapted")
class Top1Adapted(Proportion):
    title = "Top-1 accuracy, adapted"
    note = (
        "top-1 accuracy once the means and variances of batch norms are those of up to 256 of the test set's own "
        "unlabeled images (Schneider et al., 2020), of a family of corruptions all at once; a classifier without batch "
        "norms stays as it is"
    )
    adapted = True
