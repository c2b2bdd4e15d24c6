"""What learns from a batch: one network, or two that share all but their batch norms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genrobust.classifiers import autocast
from genrobust.train.augment import Mix


class Learner(nn.Module):
    """Networks side by side, each with its rows of every batch. `mix` mixes what one of them sees, and nothing else.

    One module, so that DDP can wrap all that learns.
    """

    def __init__(self, shares: Sequence[tuple[nn.Module, slice | Tensor]], mix: Mix | None, precision: str) -> None:
        super().__init__()
        self.networks = nn.ModuleList(network for network, _ in shares)
        self._rows, self._mix, self._precision = [rows for _, rows in shares], mix, precision

    def forward(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The logits for float [B, 3, S, S], and the targets that they then have, one network's after another's."""
        shares = zip(self.networks, self._rows, strict=True)
        learned = [self._learn(network, images[rows], targets[rows]) for network, rows in shares]
        logits, targets = (torch.cat(parts) for parts in zip(*learned, strict=True))
        return logits, targets

    def _learn(self, network: nn.Module, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if self._mix is not None:
            images, targets = self._mix(images, targets)
        images = images.contiguous(memory_format=torch.channels_last)
        with autocast(images.device, self._precision):
            return network(images), targets
