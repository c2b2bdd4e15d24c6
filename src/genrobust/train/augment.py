"""Augmentations of a training batch, drawn from the global torch generator, which the loop seeds for every step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from genrobust.recipe import Color, TrainConfig

Augment = Callable[[Tensor], Tensor]
Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
CROP_AREA = (0.6, 1.0)  # mild: the drawing or object stays mostly in sight
CROP_ASPECT = (3 / 4, 4 / 3)


def make_augment(config: TrainConfig, fill: Color = (128, 128, 128)) -> Augment:
    """Return a function from uint8 [B, 3, H, W] to float [0, 1] of that shape, which draws for each image by itself.

    First comes the policy, for its share of the images, then crops and mirroring, which `none` leaves out and random
    resized crops bring along, then color jitter, grayscale and random erasing, in timm's order and with its ranges.
    `fill` is the color beyond a moved image's edge, and of what is erased.
    """
    policy, strength = config.augmentation.policy(fill), config.color_jitter
    share = config.augmentation_share
    cuts = config.augmentation.crops and config.crop != "random-resized"
    after = [
        *([v2.ColorJitter(strength, strength, strength)] if strength else []),
        *([v2.RandomGrayscale(config.grayscale)] if config.grayscale else []),
        *([v2.RandomErasing(config.random_erasing, value=[c / 255 for c in fill])] if config.random_erasing else []),
    ]
    final = v2.Compose(after) if after else None

    def augment(images: Tensor) -> Tensor:
        if policy is not None:
            changed = [share == 1 or float(torch.rand(())) < share for _ in images]
            images = torch.stack(
                [policy(image) if change else image for image, change in zip(images, changed, strict=True)]
            )
        images = images.float().div_(255)  # its own copy: bytes are no floats
        if cuts:
            images = crop_and_flip(images)
        return images if final is None else torch.stack([final(image) for image in images])

    return augment


def make_mix(config: TrainConfig, classes: int) -> Mix:
    """Return a function that mixes the images of a batch, float [B, 3, H, W], and their labels, int64 [B], in pairs.

    It returns the images and targets [B, classes], each a distribution; without mixup and CutMix, what it is given.
    """
    alphas = ((v2.MixUp, config.mixup), (v2.CutMix, config.cutmix))
    kinds = [kind(alpha=alpha, num_classes=classes) for kind, alpha in alphas if alpha]
    if not kinds:
        return lambda images, labels: (images, labels)
    either = v2.RandomChoice(kinds)

    def mix(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        order = torch.randperm(len(images))  # neighbors are paired, and a weighted batch holds source after source
        order = order.to(images.device, non_blocking=True)  # a GPU need not wait
        mixed: tuple[Tensor, Tensor] = either(images[order], labels[order])
        return mixed

    return mix


def crop_and_flip(images: Tensor) -> Tensor:
    """Crop and mirror images at random, float [B, C, H, W], a whole batch in one bilinear resampling.

    The boxes are those of torchvision's RandomResizedCrop, but for those that do not fit, which are made smaller and
    not drawn again. It takes the same box for all of a batch, and image by image costs more than the training step of
    a small network.
    """
    n, _, rows, columns = images.shape
    area = torch.empty(n).uniform_(*CROP_AREA)
    low, high = torch.tensor(CROP_ASPECT).log()
    aspect = torch.exp(low + (high - low) * torch.rand(n))
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    shift_x, shift_y = ((1 - side) * (2 * torch.rand(n) - 1) for side in (width, height))
    mirror = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    boxes = torch.stack([width * mirror, shift_x, height, shift_y])[..., None]
    scale_x, move_x, scale_y, move_y = boxes.to(images.device, non_blocking=True)  # at once: a GPU need not wait
    identity = torch.eye(2, 3, device=images.device)[None]
    whole = F.affine_grid(identity, [1, 1, rows, columns], align_corners=False)[0]
    grid = torch.empty(n, rows, columns, 2, device=images.device)
    # Nothing is turned: each axis goes its own way, at a third of the time of affine_grid's matrix products.
    grid[..., 0] = (scale_x * whole[0, :, 0] + move_x)[:, None, :]
    grid[..., 1] = (scale_y * whole[:, 0, 1] + move_y)[:, :, None]
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def border_color(images: Tensor) -> Color:
    """Return the median color of the outermost pixels of uint8 [B, 3, H, W]: white for drawings on white."""
    edges = torch.cat([images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]], dim=-1)
    red, green, blue = edges.permute(1, 0, 2).reshape(3, -1).median(dim=1).values.tolist()
    return int(red), int(green), int(blue)
