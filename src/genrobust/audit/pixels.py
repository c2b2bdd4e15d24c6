"""Images as signals: color, chroma and the power at each frequency."""

from __future__ import annotations

import numpy as np

from genrobust.core import FLAT_IMAGE, PixelStatistics

CHANNELS = ("red", "green", "blue", "chroma")


class PixelCounter:
    """Adds up PixelStatistics batch by batch; nothing of an image is kept.

    Attributes:
        totals: All sums so far, float64 [T]; those of other images may be added.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        n = len(CHANNELS)
        self.totals = np.zeros(3 + 2 * n + size // 2)
        self._images, self._black, self._blank = (self.totals[i : i + 1] for i in range(3))
        self._sum, self._squares, self._power = np.split(self.totals[3:], [n, 2 * n])
        cycles = np.fft.fftfreq(size, 1 / size)
        # The distance of each place of a 2-D spectrum from its center, rounded: int64 [size * size].
        self._rings = np.rint(np.hypot(cycles[:, None], cycles[None])).astype(np.int64).ravel()

    def add(self, images: np.ndarray) -> None:
        """Count `images`, uint8 [B, size, size, 3]."""
        values = images.astype(np.float64) / 255
        red, green, blue = np.moveaxis(values, -1, 0)
        channels = np.stack([red, green, blue, np.hypot(red - green, (red + green) / 2 - blue)])
        self._images += len(images)
        self._sum += channels.sum(axis=(1, 2, 3))
        self._squares += (channels**2).sum(axis=(1, 2, 3))
        self._power += radial_power(values.mean(axis=-1), self._rings).sum(axis=0)
        black = values.mean(axis=(1, 2, 3)) < FLAT_IMAGE
        self._black += black.sum()
        self._blank += (~black & (values.std(axis=(1, 2)).max(axis=-1) < FLAT_IMAGE)).sum()

    def result(self) -> PixelStatistics:
        """Return the statistics of all added images. At least one must have been added."""
        images, black, blank = (int(total) for total in self.totals[:3])
        pixels = images * self._size**2
        mean = self._sum / pixels
        sd = np.sqrt(np.maximum(self._squares / pixels - mean**2, 0))
        means, sds, powers = (tuple(values.tolist()) for values in (mean, sd, self._power / images))
        return PixelStatistics(images, self._size, means, sds, powers, black, blank)


def radial_power(gray: np.ndarray, rings: np.ndarray) -> np.ndarray:
    """Average the power of each picture in `gray`, float [B, S, S], over each of `rings`: float64 [B, S // 2]."""
    side = gray.shape[-1]
    centered = gray - gray.mean(axis=(1, 2), keepdims=True)
    power = np.abs(np.fft.fft2(centered)).reshape(len(gray), -1) ** 2 / side**2
    total = np.stack([np.bincount(rings, weights=row, minlength=side // 2 + 1) for row in power])
    return total[:, 1 : side // 2 + 1] / np.bincount(rings)[1 : side // 2 + 1]
