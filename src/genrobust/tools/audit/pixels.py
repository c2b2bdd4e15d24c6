"""Images as signals: color, chroma and the power at each frequency."""

from __future__ import annotations

import numpy as np

from genrobust.core import FLAT_IMAGE
from genrobust.tools.audit.results import PixelStatistics


def count_pixels(images: np.ndarray) -> np.ndarray:
    """Return the sums that `pixel_statistics` needs of `images`, uint8 [B, S, S, 3]: float64 [11 + S // 2].

    Those of several batches may be added.
    """
    values = images.astype(np.float64) / 255
    red, green, blue = np.moveaxis(values, -1, 0)
    channels = np.stack([red, green, blue, np.hypot(red - green, (red + green) / 2 - blue)])
    black = values.mean(axis=(1, 2, 3)) < FLAT_IMAGE
    blank = ~black & (values.std(axis=(1, 2)).max(axis=-1) < FLAT_IMAGE)
    sums, squares = channels.sum(axis=(1, 2, 3)), (channels**2).sum(axis=(1, 2, 3))
    power = radial_power(values.mean(axis=-1)).sum(axis=0)
    return np.concatenate([[len(images), black.sum(), blank.sum()], sums, squares, power])


def pixel_statistics(totals: np.ndarray, size: int) -> PixelStatistics:
    """Return the statistics of all images whose sums are in `totals`: one image or more, of `size` pixels a side."""
    images, black, blank = (int(total) for total in totals[:3])
    sums, squares, power = np.split(totals[3:], [4, 8])
    mean = sums / (images * size**2)
    sd = np.sqrt(np.maximum(squares / (images * size**2) - mean**2, 0))
    means, sds, powers = (tuple(values.tolist()) for values in (mean, sd, power / images))
    return PixelStatistics(images, size, means, sds, powers, black, blank)


def radial_power(gray: np.ndarray) -> np.ndarray:
    """Average the power of each picture in `gray`, float [B, S, S], over each ring of frequencies: float64 [B, S // 2].

    The ring of a place of the 2-D spectrum is its distance from the center, rounded.
    """
    side = gray.shape[-1]
    cycles = np.fft.fftfreq(side, 1 / side)
    rings = np.rint(np.hypot(cycles[:, None], cycles[None])).astype(np.int64).ravel()
    centered = gray - gray.mean(axis=(1, 2), keepdims=True)
    power = np.abs(np.fft.fft2(centered)).reshape(len(gray), -1) ** 2 / side**2
    total = np.stack([np.bincount(rings, weights=row, minlength=side // 2 + 1) for row in power])
    return total[:, 1 : side // 2 + 1] / np.bincount(rings)[1 : side // 2 + 1]
