"""Batch norms adapted to the unlabeled images of a test set (Schneider et al., 2020)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import nn

from genrobust.classifiers.networks.logits import Feed, Prepare, on_device
from genrobust.classifiers.opened_classifier import ADAPTED_TO
from genrobust.core import ImageSet, Subset, key_hash, repeatable


def batch_norms(network: nn.Module) -> list[nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d]:
    """Return the batch norms of `network`, including timm's."""
    kinds = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
    return [module for module in network.modules() if isinstance(module, kinds)]


@contextmanager
def adapted_batch_norms(
    networks: Sequence[nn.Module], images: ImageSet, prepare: Prepare, feed: Feed
) -> Iterator[None]:
    """In the block, let batch norms of `networks` use the means and variances of `images`.

    This is the paper's full adaptation (N = 0): statistics of the training images do not count. The images are one
    batch, so each layer sees all of them through the adapted layers before it. From a larger set, `ADAPTED_TO` images
    are taken by the hashes of their keys. So neither the order of the set nor the size of batches changes the result.
    Labels are not used. A set of one image changes nothing.
    """
    if not networks or len(images) < 2:
        yield
        return
    hashes = [key_hash(key) for key in images.keys]
    taken = Subset(images, sorted(range(len(images)), key=hashes.__getitem__)[:ADAPTED_TO])
    norms = [norm for network in networks for norm in batch_norms(network)]
    trained = [deepcopy(norm.state_dict()) for norm in norms]
    try:
        with repeatable(), torch.inference_mode():
            (batch,) = Feed(len(taken), feed.device).batches(taken, prepare)
            for network in networks:
                for norm in batch_norms(network.eval()):
                    # Replace the running statistics by the statistics of this batch.
                    norm.train().momentum = 1.0
                network(on_device(batch, feed.device))
                network.eval()
        yield
    finally:
        # The next set may have one image, which does not replace the statistics.
        for norm, state in zip(norms, trained, strict=True):
            norm.load_state_dict(state)
