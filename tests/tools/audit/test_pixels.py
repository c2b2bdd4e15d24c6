"""Color and spectra of images whose statistics are known."""

from __future__ import annotations

import numpy as np
import pytest

from genrobust.tools.audit.pixels import count_pixels, pixel_statistics


def counted(images: np.ndarray, at_once: int = 100):
    totals = [count_pixels(images[start : start + at_once]) for start in range(0, len(images), at_once)]
    return pixel_statistics(np.sum(totals, axis=0), images.shape[1])


def test_means_and_deviations_are_over_all_pixels_and_no_batch_size_changes_them() -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)
    found, again = counted(images), counted(images, at_once=2)
    pixels = images.reshape(-1, 3) / 255
    red, green, blue = pixels.T
    chroma = np.sqrt((red - green) ** 2 + ((red + green) / 2 - blue) ** 2)
    assert found.mean == pytest.approx([*pixels.mean(0), chroma.mean()])
    assert found.sd == pytest.approx([*pixels.std(0), chroma.std()])
    assert (found.n, found.size) == (7, 16)
    assert again.mean == pytest.approx(found.mean)
    assert again.spectrum == pytest.approx(found.spectrum)


def test_a_grating_has_its_power_at_its_frequency() -> None:
    wave = np.rint(127.5 + 100 * np.cos(2 * np.pi * 5 * np.arange(32) / 32)).astype(np.uint8)
    spectrum = np.array(counted(np.broadcast_to(wave[None, None, :, None], (1, 32, 32, 3))).spectrum)
    assert spectrum.argmax() == 5 - 1
    assert spectrum[4] > 1000 * np.delete(spectrum, 4).max()


def test_white_noise_has_its_variance_at_every_frequency() -> None:
    gray = np.random.default_rng(1).normal(128, 30, (200, 32, 32)).clip(0, 255).astype(np.uint8)
    found = counted(np.repeat(gray[..., None], 3, axis=-1))
    assert np.array(found.spectrum) == pytest.approx((30 / 255) ** 2, rel=0.1)


def test_black_and_blank_images_are_counted() -> None:
    images = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    images[1] += 200
    images[2] = np.random.default_rng(0).integers(0, 256, (8, 8, 3))
    found = counted(images)
    assert (found.black, found.blank) == (2, 1)
