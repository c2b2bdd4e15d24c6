"""Fidelity: the distance of the distribution of generated images from that of real ones, over features of both.

The arithmetic is torch-fidelity's (FID: Heusel et al. 2017; KID: Binkowski et al. 2018; precision and recall:
Kynkaanniemi et al. 2019), on features of the caller's choice and in float64.
"""

from __future__ import annotations

import numpy as np
import torch
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000  # images, but at most half of the smaller set: whole ones would hardly vary
NEIGHBORS = 3  # the ball round an image reaches to its third neighbor, as in the paper
_ROWS, _DISTANCES = 1000, 2**27  # images whose distances to all others are in memory at once, and 1 GiB of distances


def fidelity(generated: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Compare features float [N, D] of generated images with features float [M, D] of real ones.

    N and M are more than `NEIGHBORS`: fewer images have no third neighbor.

    Returns:
        "fid" and "kid", 0 for equal distributions, "kid" as a mean over seeded subsets; "precision", the share of
        generated images among the real ones, and "recall", that of real images among the generated ones.
    """
    ours, theirs = (torch.from_numpy(np.asarray(f, dtype=np.float64)) for f in (generated, real))
    statistics = [fid_features_to_statistics(features) for features in (ours, theirs)]
    kid = kid_features_to_metric(
        ours,
        theirs,
        kid_subsets=KID_SUBSETS,
        kid_subset_size=min(KID_SUBSET_SIZE, len(ours) // 2, len(theirs) // 2),
        rng_seed=0,
        verbose=False,
    )
    rows = max(1, min(_ROWS, _DISTANCES // max(len(ours), len(theirs))))
    # torch-fidelity takes the generated images first since 0.4; before, it called precision what is recall
    among = prc_features_to_metric(
        ours, theirs, prc_neighborhood=NEIGHBORS, prc_batch_size=rows, save_cpu_ram=True, verbose=False
    )
    return {
        "fid": fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID],
        "kid": kid[KEY_METRIC_KID_MEAN],
        "precision": among[KEY_METRIC_PRECISION],
        "recall": among[KEY_METRIC_RECALL],
    }


def halves(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divide a set into two halves, indices int64 each, that share the images of each class evenly.

    The score of one half against the other is what real images would reach.
    """
    order = np.argsort(labels, kind="stable")
    return np.sort(order[0::2]), np.sort(order[1::2])
