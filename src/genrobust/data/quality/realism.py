"""Fidelity: the distance between the distributions of generated and real images, over features of both.

The arithmetic is torch-fidelity's (FID: Heusel et al. 2017; KID: Binkowski et al. 2018; precision and recall:
Kynkaanniemi et al. 2019), on any features, in float64.
"""

from __future__ import annotations

import numpy as np
import torch
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

KID_SUBSETS = 100
# Images per subset, but at most half of the smaller set. Larger subsets would hardly vary.
KID_SUBSET_SIZE = 1000
NEIGHBORS = 3  # the ball around an image reaches to its third neighbor, as in the paper
# Images whose distances to all others are in memory at once, and the limit of 1 GiB of distances.
_ROWS, _DISTANCES = 1000, 2**27


def fidelity(generated: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Compare features float [N, D] of generated images with features float [M, D] of real ones.

    N and M are more than `NEIGHBORS`: fewer images have no third neighbor.

    Returns:
        "fid" and "kid", 0 for equal distributions, "kid" as a mean over seeded subsets; "precision", the share of
        generated images near real ones, and "recall", the share of real images near generated ones.
    """
    ours = torch.from_numpy(np.asarray(generated, dtype=np.float64))
    theirs = torch.from_numpy(np.asarray(real, dtype=np.float64))
    fid = fid_statistics_to_metric(fid_features_to_statistics(ours), fid_features_to_statistics(theirs), verbose=False)
    kid = kid_features_to_metric(
        ours,
        theirs,
        kid_subsets=KID_SUBSETS,
        kid_subset_size=min(KID_SUBSET_SIZE, len(ours) // 2, len(theirs) // 2),
        rng_seed=0,
        verbose=False,
    )
    rows = max(1, min(_ROWS, _DISTANCES // max(len(ours), len(theirs))))
    # The generated images come first since torch-fidelity 0.4. Before, its precision was the recall.
    precision_recall = prc_features_to_metric(
        ours, theirs, prc_neighborhood=NEIGHBORS, prc_batch_size=rows, save_cpu_ram=True, verbose=False
    )
    return {
        "fid": fid[KEY_METRIC_FID],
        "kid": kid[KEY_METRIC_KID_MEAN],
        "precision": precision_recall[KEY_METRIC_PRECISION],
        "recall": precision_recall[KEY_METRIC_RECALL],
    }


def halves(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divide a set into two halves, indices int64 each, with the images of each class spread evenly.

    The score of one half against the other is the best that generated images could reach.
    """
    order = np.argsort(labels, kind="stable")
    return np.sort(order[0::2]), np.sort(order[1::2])
