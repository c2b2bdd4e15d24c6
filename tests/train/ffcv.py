"""What FFCV's ImageNet example computes, written anew from its description, to hold our settings against."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class BlurredBefore(nn.Module):
    """A convolution behind a fixed 3 x 3 binomial filter."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution
        rows = torch.tensor([1.0, 2.0, 1.0])
        filters = (rows[:, None] * rows[None, :] / 16).repeat(convolution.in_channels, 1, 1, 1)
        self.register_buffer("filters", filters)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        channels = self.convolution.in_channels
        return self.convolution(F.conv2d(images, self.filters, stride=1, padding=1, groups=channels))


def blur_strided(network: nn.Module) -> int:
    """Replace every strided convolution of 16 input channels or more, as FFCV does; returns how many."""
    replaced = 0
    for name, child in network.named_children():
        if isinstance(child, nn.Conv2d) and max(child.stride) > 1 and child.in_channels >= 16:
            setattr(network, name, BlurredBefore(child))
            replaced += 1
        else:
            replaced += blur_strided(child)
    return replaced


def plain_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """The state under the names that it has without the filters."""
    state = network.state_dict().items()
    return {name.replace(".convolution", ""): value for name, value in state if not name.endswith(".filters")}


def rates(peak: float, epochs: int, peak_epoch: int, iterations: int) -> list[float]:
    """The learning rate of every step: "cyclic", interpolated between the ends of an epoch."""
    ends = np.interp(np.arange(epochs + 1), [0, peak_epoch, epochs], [1e-4 * peak, peak, 0])
    return [
        float(np.interp(i, [0, iterations], [ends[epoch], ends[epoch + 1]]))
        for epoch in range(epochs)
        for i in range(iterations)
    ]


def optimizer_of(network: nn.Module, weight_decay: float) -> torch.optim.SGD:
    """SGD with plain momentum, without weight decay for parameters that are called "bn"."""
    named = list(network.named_parameters())
    groups = [
        {"params": [p for name, p in named if "bn" in name], "weight_decay": 0.0},
        {"params": [p for name, p in named if "bn" not in name], "weight_decay": weight_decay},
    ]
    return torch.optim.SGD(groups, lr=1, momentum=0.9)
