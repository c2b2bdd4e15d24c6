"""Augmentation of a training batch. Uses the global torch generator, which the training loop seeds for every step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from genrobust.recipe import Color, TrainConfig

Augment = Callable[[Tensor], Tensor]
Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
# Share of the area that a mild crop keeps: the drawing or object stays mostly visible.
CROP_AREA = (0.6, 1.0)
CROP_ASPECT = (3 / 4, 4 / 3)


def make_augment(config: TrainConfig, fill: Color = (128, 128, 128)) -> Augment:
    """Return a function from uint8 [B, 3, H, W] to float [B, 3, H, W] in [0, 1] that changes each image on its own.

    The order is timm's: policy, crop and mirror, color jitter, grayscale, random erasing.

    Args:
        fill: Color beyond the edge of a moved image, and of erased areas.
    """
    policy = config.augmentation.policy(fill)
    share = config.augmentation_share
    # Random resized crops are cut and mirrored already when a batch is read.
    crops = config.augmentation.crops and config.crop != "random-resized"
    after_crop = _color_and_erasing(config, fill)

    def augment(images: Tensor) -> Tensor:
        if policy is not None:
            changed = []
            # Decide for all images first, then change them: this order of random draws is part of the result.
            is_changed = [share == 1 or float(torch.rand(())) < share for _ in images]
            for image, change in zip(images, is_changed, strict=True):
                changed.append(policy(image) if change else image)
            images = torch.stack(changed)
        # Divide in place: converting bytes to floats has made a copy.
        images = images.float().div_(255)
        if crops:
            images = crop_and_flip(images)
        if after_crop is not None:
            images = torch.stack([after_crop(image) for image in images])
        return images

    return augment


def _color_and_erasing(config: TrainConfig, fill: Color) -> v2.Compose | None:
    """Compose color jitter, grayscale and random erasing, with timm's ranges. None if all are off."""
    transforms: list[v2.Transform] = []
    if config.color_jitter:
        transforms.append(v2.ColorJitter(config.color_jitter, config.color_jitter, config.color_jitter))
    if config.grayscale:
        transforms.append(v2.RandomGrayscale(config.grayscale))
    if config.random_erasing:
        value = [channel / 255 for channel in fill]
        transforms.append(v2.RandomErasing(config.random_erasing, value=value))
    return v2.Compose(transforms) if transforms else None


def make_mix(config: TrainConfig, classes: int) -> Mix:
    """Return a function that mixes pairs of images, float [B, 3, H, W], and their labels, int64 [B].

    With mixup or CutMix it returns the images and targets [B, classes], each a distribution over classes. Without both
    it returns its input.
    """
    transforms: list[v2.Transform] = []
    if config.mixup:
        transforms.append(v2.MixUp(alpha=config.mixup, num_classes=classes))
    if config.cutmix:
        transforms.append(v2.CutMix(alpha=config.cutmix, num_classes=classes))
    if not transforms:
        return lambda images, labels: (images, labels)
    mix_neighbors = v2.RandomChoice(transforms)

    def mix(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        # torchvision mixes each image with its neighbor, and a weighted batch holds source after source: shuffle.
        order = torch.randperm(len(images)).to(images.device, non_blocking=True)
        mixed: tuple[Tensor, Tensor] = mix_neighbors(images[order], labels[order])
        return mixed

    return mix


def crop_and_flip(images: Tensor) -> Tensor:
    """Crop and mirror each image of a batch, float [B, C, H, W], in one bilinear resampling.

    Boxes have the distribution of torchvision's RandomResizedCrop, except that a box that does not fit is shrunk
    instead of drawn again. torchvision takes one box for a whole batch, and cropping image by image takes longer than
    the training step of a small network.
    """
    n, _, rows, columns = images.shape
    area = torch.empty(n).uniform_(*CROP_AREA)
    low, high = torch.tensor(CROP_ASPECT).log()
    aspect = torch.exp(low + (high - low) * torch.rand(n))
    # Sizes and offsets in the coordinates of `affine_grid`, where an image reaches from -1 to 1.
    width = (area * aspect).sqrt().clamp(max=1)
    height = (area / aspect).sqrt().clamp(max=1)
    shift_x = (1 - width) * (2 * torch.rand(n) - 1)
    shift_y = (1 - height) * (2 * torch.rand(n) - 1)
    mirror = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    # One copy to the device for all four, so that a GPU does not wait: [4, B, 1].
    boxes = torch.stack([width * mirror, shift_x, height, shift_y])[..., None]
    scale_x, shift_x, scale_y, shift_y = boxes.to(images.device, non_blocking=True)

    identity = torch.eye(2, 3, device=images.device)[None]
    whole = F.affine_grid(identity, [1, 1, rows, columns], align_corners=False)[0]  # [H, W, 2]
    # Without rotation the axes are independent: a third of the time of affine_grid's matrix products.
    grid = torch.empty(n, rows, columns, 2, device=images.device)
    grid[..., 0] = (scale_x * whole[0, :, 0] + shift_x)[:, None, :]
    grid[..., 1] = (scale_y * whole[:, 0, 1] + shift_y)[:, :, None]
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def border_color(images: Tensor) -> Color:
    """Return the median color of the outermost pixels of uint8 [B, 3, H, W]: white for drawings on white."""
    top, bottom = images[..., 0, :], images[..., -1, :]
    left, right = images[..., 0], images[..., -1]
    edges = torch.cat([top, bottom, left, right], dim=-1)  # [B, 3, 2 W + 2 H]
    channels = edges.permute(1, 0, 2).reshape(3, -1)
    red, green, blue = channels.median(dim=1).values.tolist()
    return int(red), int(green), int(blue)
