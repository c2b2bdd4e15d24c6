"""Pictures that tests make, and how they are saved again."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter


def jpeg(image: Image.Image, quality: int = 40) -> Image.Image:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return Image.open(io.BytesIO(data.getvalue())).convert("RGB")


def picture(seed: int, size: int = 160) -> Image.Image:
    """A picture as busy as a photograph: colored noise with more power at low frequencies, as natural images have."""
    rng = np.random.default_rng(seed)
    layers = [s * gaussian_filter(rng.normal(size=(size, size, 3)), (s, s, 0)) for s in (2, 5, 12, 30)]
    total = sum(layers)
    low, high = np.quantile(total, [0.01, 0.99])
    return Image.fromarray((255 * (total - low) / (high - low)).clip(0, 255).astype(np.uint8))
