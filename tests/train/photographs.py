"""Images with the statistics of photographs, and how near two images are."""

from __future__ import annotations

import numpy as np
from PIL import Image


def photograph(width: int, height: int, seed: int) -> Image.Image:
    """Noise whose amplitude falls with the frequency as that of photographs does, grayer than it is colored."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)) + 1 / max(width, height)

    def field(deviation: float) -> np.ndarray:
        phases = rng.standard_normal((2, *frequency.shape))
        values = np.fft.irfft2((phases[0] + 1j * phases[1]) / frequency**1.3, (height, width))
        return values * deviation / values.std()

    gray, warm, cold = field(50), field(12), field(12)
    colors = np.stack([gray + warm, gray - warm / 2 - cold / 2, gray + cold], axis=-1) + 128
    return Image.fromarray(np.clip(colors, 0, 255).astype(np.uint8))


def psnr(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The peak signal-to-noise ratio of two uint8 images, in dB."""
    error = np.mean((ours.astype(float) - theirs) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))
