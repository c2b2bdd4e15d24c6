"""Shared by the trainings of the generator's parts: the wild images as arrays, their captions, and augmentation."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genrobust.core import ImageSet
from genrobust.generate.prompt_templates import template_set

WILD = ("outline", "solid", "duotone", "emoji", "illustration", "hand-drawn", "pixel")
CLASS_ONLY = ("a {}", "a picture of a {}", "an icon of a {}", "{}", "a pictogram of a {}")


def captions(prompt: str, style: str | None = "") -> list[str]:
    """The captions of a class: those of one `style`, of every style (""), or those that name none (None)."""
    if style is None:
        return [t.replace("{}", prompt) for t in CLASS_ONLY]
    return [t.fill(prompt) for t in template_set("pictograms") if not style or t.style == style]


def load_split(images: ImageSet | None) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """An image set as uint8 [N, 64, 64, 3], labels [N] and styles."""
    assert images is not None
    array = np.stack([np.asarray(images.image(i)) for i in range(len(images))])
    return array, np.asarray(images.labels), list(images.styles)


def batch_augment(images: np.ndarray, g: torch.Generator, zoom: float = 0.15, hue: bool = True) -> Tensor:
    """Mirror half, zoom by up to `zoom`, move by up to 4 px and recolor some of uint8 [B, 64, 64, 3].

    Returns [B, 3, 64, 64] in [-1, 1]; white comes in from outside. Hues turn by permuting channels in a quarter.
    """
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    n = len(x)
    scale = 1 + (2 * torch.rand(n, generator=g) - 1) * zoom
    flip = torch.randint(0, 2, (n,), generator=g) * 2.0 - 1
    shift = (torch.rand(n, 2, generator=g) - 0.5) * 0.25
    zero = torch.zeros(n)
    theta = torch.stack(
        [torch.stack([scale * flip, zero, shift[:, 0]], 1), torch.stack([zero, scale, shift[:, 1]], 1)], 1
    )
    x = F.grid_sample(x - 1, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False) + 1
    if hue:
        order = torch.rand(n, 3, generator=g).argsort(1)
        order[torch.rand(n, generator=g) < 0.75] = torch.arange(3)
        x = torch.gather(x, 1, order[:, :, None, None].expand_as(x))
    return x


def shares(labels: np.ndarray, styles: np.ndarray) -> Tensor:
    """How often each image is shown, [N]: classes evenly, and styles (numbers [N] in `WILD`) by the root of theirs."""
    weight = 1 / np.bincount(labels)[labels] / np.sqrt(np.bincount(styles, minlength=len(WILD))[styles])
    return torch.from_numpy(weight / weight.sum())
