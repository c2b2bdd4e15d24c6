"""Augmentations of a training batch, drawn from the global torch generator, which the loop seeds for every step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2

from genrobust.recipe import TrainConfig

Augment = Callable[[Tensor], Tensor]
Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
CROP_AREA = (0.6, 1.0)  # mild: the drawing or object stays mostly in sight
CROP_ASPECT = (3 / 4, 4 / 3)


def make_augment(config: TrainConfig, fill: tuple[int, int, int] = (128, 128, 128)) -> Augment:
    """A function from uint8 [B, 3, H, W] to float [0, 1] of the same shape, each image drawn for itself.

    First the policy: `standard` crops and mirrors; `autoaugment` (ImageNet's), `randaugment`, `trivialaugment` and
    `augmix` do that after torchvision's policy of the name with its published defaults; `none` only scales. Then, in
    timm's order and with its ranges, colour jitter, greyscale and random erasing. `fill` is the colour beyond a turned
    or moved image's edge, and of what is erased. Random resized crops come cut and mirrored, and are not cut again.
    """
    cut = _unchanged if config.crop == "random-resized" else crop_and_flip
    policy, strength = _make_policy(config.augmentation, fill, cut), config.color_jitter
    after: list[v2.Transform] = []
    if strength:
        after.append(v2.ColorJitter(strength, strength, strength))
    if config.grayscale:
        after.append(v2.RandomGrayscale(config.grayscale))
    if config.random_erasing:
        after.append(v2.RandomErasing(config.random_erasing, value=[channel / 255 for channel in fill]))
    if not after:
        return policy
    more = v2.Compose(after)
    return lambda images: torch.stack([more(image) for image in policy(images)])


def make_mix(config: TrainConfig, classes: int) -> Mix | None:
    """A function that mixes the images of a batch, float [B, 3, H, W], and their labels, int64 [B], in pairs.

    It gives the images and targets [B, classes], each a distribution. None where `config` asks for neither mixup nor
    CutMix.
    """
    alphas = ((v2.MixUp, config.mixup), (v2.CutMix, config.cutmix))
    kinds = [kind(alpha=alpha, num_classes=classes) for kind, alpha in alphas if alpha]
    if not kinds:
        return None
    either = v2.RandomChoice(kinds)

    def mix(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        order = torch.randperm(len(images))  # neighbours are paired, and a weighted batch holds source after source
        mixed: tuple[Tensor, Tensor] = either(images[order], labels[order])
        return mixed

    return mix


def _make_policy(name: str, fill: tuple[int, int, int], cut: Augment) -> Augment:
    if name == "none":
        return _to_float
    if name == "standard":
        return lambda images: cut(_to_float(images))
    colour = list(fill)
    policy: v2.Transform = {
        "autoaugment": lambda: v2.AutoAugment(fill=colour),
        "randaugment": lambda: v2.RandAugment(fill=colour),
        "trivialaugment": lambda: v2.TrivialAugmentWide(fill=colour),
        "augmix": lambda: v2.AugMix(fill=colour),
    }[name]()
    return lambda images: cut(_to_float(torch.stack([policy(image) for image in images])))


def crop_and_flip(images: Tensor) -> Tensor:
    """Random resized crops and mirror images of float [B, C, H, W], a whole batch in one bilinear resampling.

    The boxes are those of torchvision's RandomResizedCrop; that one would take the same box for all of a batch, and
    image by image it costs more than the training step of a small network.
    """
    n, _, rows, columns = images.shape
    area = torch.empty(n).uniform_(*CROP_AREA)
    low, high = torch.tensor(CROP_ASPECT).log()
    aspect = torch.exp(low + (high - low) * torch.rand(n))
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    shift_x, shift_y = ((1 - side) * (2 * torch.rand(n) - 1) for side in (width, height))
    mirror = torch.where(torch.rand(n) < 0.5, -1.0, 1.0)
    scale_x, move_x, scale_y, move_y = (
        values[:, None].to(images.device) for values in (width * mirror, shift_x, height, shift_y)
    )
    as_it_is = torch.eye(2, 3, device=images.device)[None]
    whole = F.affine_grid(as_it_is, [1, 1, rows, columns], align_corners=False)[0]
    grid = torch.empty(n, rows, columns, 2, device=images.device)
    # Nothing is turned: each axis goes its own way, at a third of the time of affine_grid's matrix products.
    grid[..., 0] = (scale_x * whole[0, :, 0] + move_x)[:, None, :]
    grid[..., 1] = (scale_y * whole[:, 0, 1] + move_y)[:, :, None]
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def border_colour(images: Tensor) -> tuple[int, int, int]:
    """The median colour of the outermost pixels of uint8 [B, 3, H, W]: white for drawings on white."""
    edges = torch.cat([images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]], dim=-1)
    red, green, blue = edges.permute(1, 0, 2).reshape(3, -1).median(dim=1).values.tolist()
    return int(red), int(green), int(blue)


def _unchanged(images: Tensor) -> Tensor:
    return images


def _to_float(images: Tensor) -> Tensor:
    return images.float().div_(255)  # its own copy: bytes are no floats
