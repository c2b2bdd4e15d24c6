"""Augmentations keep shape and range, follow the seed, and treat each image for itself."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch

from genrobust.config import TrainConfig
from genrobust.train.augment import border_colour, crop_and_flip, make_augment

NAMES = get_args(TrainConfig.model_fields["augmentation"].annotation)


@pytest.mark.parametrize("name", NAMES)
def test_shape_range_and_seed(job: Any, name: str) -> None:
    images, _ = job.mixture().batch(0, 0)
    augment = make_augment(name)
    torch.manual_seed(7)
    once = augment(images)
    torch.manual_seed(7)
    again = augment(images)
    torch.manual_seed(8)
    other = augment(images)
    assert once.shape == images.shape and once.dtype == torch.float32
    assert float(once.min()) >= 0 and float(once.max()) <= 1
    assert torch.equal(once, again)
    assert torch.equal(once, other) == (name == "none")


def test_none_only_scales(job: Any) -> None:
    images, _ = job.mixture().batch(0, 0)
    assert torch.equal(make_augment("none")(images), images.float() / 255)


def test_each_image_gets_a_crop_of_its_own() -> None:
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 32).expand(64, 1, 32, 32)
    out = crop_and_flip(ramp)
    rising = out[:, 0, 16, 31] > out[:, 0, 16, 0]
    assert 10 < int(rising.sum()) < 54  # about half are mirrored
    width = (out[:, 0, 16, 31] - out[:, 0, 16, 0]).abs()
    assert len(width.unique()) > 32
    assert float(width.min()) > 0.6**0.5 * 0.75**0.5 - 0.05  # the narrowest crop there is
    assert float((out.amax(dim=(1, 2, 3)) - out.amin(dim=(1, 2, 3))).max()) <= 1


def test_border_colour_is_the_paper() -> None:
    images = torch.full((4, 3, 16, 16), 255, dtype=torch.uint8)
    images[:, :, 4:12, 4:12] = 0
    assert border_colour(images) == (255, 255, 255)
