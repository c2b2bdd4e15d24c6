"""Styles for photographs: domain knowledge, to be compared with what a generator learned from data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genrobust.recipe import AUGMENTATIONS, Augmentation, Color, Policy

if TYPE_CHECKING:  # recipes ask for the names, and torch takes seconds to load
    from torch import Tensor

SMOOTHED = (0.6, 1.4)  # pixels of a side of SIDE: what is finer is neither a line nor a flat
SIDE = 64
LINES = (0.75, 0.93)  # the share of pixels that are no line
LEVELS = (3, 6)  # of each channel in a flat picture, the second excluded
OUTLINED = 0.5  # share of the flat pictures


@AUGMENTATIONS.register("photograph-styles")
class PhotographStyles(Augmentation):
    """Draws a photograph in another style: as dark lines on white, or as flat colors, half of these with outlines.

    A third of the images stays as it is.
    """

    def policy(self, fill: Color) -> Policy | None:
        del fill

        def restyle(image: Tensor) -> Tensor:
            import torch

            draw = torch.rand(5).numpy()
            style = int(draw[0] * 3)
            if style == 0:
                return image
            pixels = image.cpu().permute(1, 2, 0).numpy()  # scipy styles a GPU's images here, too
            drawn = _drawn_as_lines(pixels, draw) if style == 1 else _drawn_flat(pixels, draw)
            styled = torch.from_numpy(drawn.round().clip(0, 255).astype(np.uint8)).permute(2, 0, 1).contiguous()
            return styled.to(image.device)

        return restyle


def _drawn_as_lines(pixels: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """The edges of a picture [H, W, 3] as dark lines on white."""
    ink = _edges(_smoothed(pixels, draw[1]), draw[2])
    return np.repeat(255 * (1 - ink)[..., None], 3, axis=2)


def _drawn_flat(pixels: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """A picture [H, W, 3] in few colors, each channel over its whole range."""
    smooth = _smoothed(pixels, draw[1])
    low, high = np.percentile(smooth, (2, 98))
    steps = int(LEVELS[0] + draw[3] * (LEVELS[1] - LEVELS[0])) - 1
    flat = np.round(np.clip((smooth - low) / max(float(high - low), 1.0), 0, 1) * steps) / steps * 255
    if draw[4] < OUTLINED:
        flat *= 1 - _edges(smooth, draw[2])[..., None]
    return np.asarray(flat, dtype=np.float32)


def _smoothed(pixels: np.ndarray, amount: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    sigma = (SMOOTHED[0] + amount * (SMOOTHED[1] - SMOOTHED[0])) * len(pixels) / SIDE
    smooth: np.ndarray = gaussian_filter(pixels.astype(np.float32), (sigma, sigma, 0))
    return smooth


def _edges(smooth: np.ndarray, share: float) -> np.ndarray:
    """How much of a line each pixel is, [H, W] in [0, 1]: by the steepest of the three channels."""
    from scipy.ndimage import sobel

    steep = np.hypot(sobel(smooth, 0), sobel(smooth, 1)).max(axis=2)
    none, full = np.quantile(steep, (LINES[0] + share * (LINES[1] - LINES[0]), 0.99))
    return np.asarray(np.clip((steep - none) / max(float(full - none), 1.0), 0, 1), dtype=np.float32)
