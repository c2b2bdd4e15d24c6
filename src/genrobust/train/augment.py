"""Augmentations of a training batch, drawn from the global torch generator, which the loop seeds for every step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

Augment = Callable[[Tensor], Tensor]
CROP_AREA = (0.6, 1.0)  # mild: the drawing or object stays mostly in sight
CROP_ASPECT = (3 / 4, 4 / 3)


def make_augment(name: str, fill: tuple[int, int, int] = (128, 128, 128)) -> Augment:
    """A function from uint8 [B, 3, H, W] to float [0, 1] of the same shape, each image drawn for itself.

    `standard` crops and mirrors; `randaugment`, `trivialaugment` and `augmix` do that after torchvision's policy of the
    name with its published defaults; `none` only scales. `fill` is the colour beyond a turned or moved image's edge.
    """
    if name == "none":
        return _to_float
    if name == "standard":
        return lambda images: crop_and_flip(_to_float(images))
    colour = list(fill)
    policy: v2.Transform = {
        "randaugment": lambda: v2.RandAugment(fill=colour),
        "trivialaugment": lambda: v2.TrivialAugmentWide(fill=colour),
        "augmix": lambda: v2.AugMix(fill=colour),
    }[name]()
    return lambda images: crop_and_flip(_to_float(torch.stack([policy(image) for image in images])))


def crop_and_flip(images: Tensor) -> Tensor:
    """Random resized crops and mirror images of float [B, C, H, W], a whole batch in one bilinear resampling.

    The boxes are those of torchvision's RandomResizedCrop; that one would take the same box for all of a batch, and
    image by image it costs more than the training step of a small network.
    """
    n = len(images)
    area = torch.empty(n).uniform_(*CROP_AREA)
    low, high = torch.tensor(CROP_ASPECT).log()
    aspect = torch.exp(low + (high - low) * torch.rand(n))
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    shift_x, shift_y = ((1 - side) * (2 * torch.rand(n) - 1) for side in (width, height))
    mirror = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    zero = torch.zeros(n)
    rows = torch.stack([width * mirror, zero, shift_x, zero, height, shift_y], dim=1).view(n, 2, 3)
    grid = F.affine_grid(rows.to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def border_colour(images: Tensor) -> tuple[int, int, int]:
    """The median colour of the outermost pixels of uint8 [B, 3, H, W]: white for drawings on white."""
    edges = torch.cat([images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]], dim=-1)
    red, green, blue = edges.permute(1, 0, 2).reshape(3, -1).median(dim=1).values.tolist()
    return int(red), int(green), int(blue)


def _to_float(images: Tensor) -> Tensor:
    return images.float() / 255
