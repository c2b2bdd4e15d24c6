"""Logits depend on the pixels alone, and pixels are prepared as timm prepares them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from genrobust.classifiers import Feed, create_classifier, predict_logits, prepare
from genrobust.classifiers.networks.logits import predict_together
from genrobust.core import UserError
from genrobust.data import MemoryImages


def noise(n: int, mirrored: bool = False) -> MemoryImages:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    shown = [image[:, ::-1] if mirrored else image for image in pixels]
    return MemoryImages("noise", shown, [0] * n, [str(i) for i in range(n)])


def test_logits_do_not_depend_on_the_batch_size() -> None:
    torch.manual_seed(0)
    model = create_classifier("test_resnet", 7, 32)
    whole = predict_logits(model, noise(23), 32, 23, "cpu")
    assert whole.shape == (23, 7) and whole.dtype == np.float32
    for batch_size in (1, 5, 64):
        assert np.allclose(predict_logits(model, noise(23), 32, batch_size, "cpu"), whole, atol=1e-5)
    with pytest.raises(UserError, match="noise is empty"):
        predict_logits(model, noise(0), 32, 4, "cpu")


def test_a_flip_averages_the_logits_of_image_and_mirror() -> None:
    torch.manual_seed(0)
    model = create_classifier("test_resnet", 5, 32)
    plain, mirror = (predict_logits(model, noise(6, mirrored), 32, 4, "cpu") for mirrored in (False, True))
    (both,) = predict_together([model], noise(6), np.asarray, Feed(4, torch.device("cpu")), ["it"], flip=True)
    assert np.allclose(both, (plain + mirror) / 2, atol=1e-5)
    assert not np.allclose(plain, mirror, atol=1e-3)


@pytest.mark.parametrize("crop_pct", [1, 0.875])
def test_images_are_prepared_as_timm_prepares_them(crop_pct: float) -> None:
    random = np.random.default_rng(0)
    sizes = [tuple(int(random.integers(low, 120)) for low in (1, 1, 8)) for _ in range(40)]
    for width, height, size in [*sizes, (32, 32, 32), (1, 300, 32)]:
        image = Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        transform = create_transform(size, interpolation="bicubic", crop_pct=crop_pct, normalize=False)
        assert np.array_equal(prepare(image, size, crop_pct), transform(image).permute(1, 2, 0).numpy())
