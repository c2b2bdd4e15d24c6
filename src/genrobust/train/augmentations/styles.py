"""Styles for drawings and photographs: domain knowledge, to be compared with what a generator learned from data."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from genrobust.recipe import AUGMENTATIONS, Augmentation, Color, Policy

if TYPE_CHECKING:  # recipes ask for the names, and torch takes seconds to load
    from torch import Tensor

SIDE = 64  # pixels for which widths are given: a stroke is thickened by one on each side
THICKENED, PIXELATED = 0.5, 0.2  # shares of the drawings
CELLS = (14, 28)  # of a pixelated side
GRAY = (0.15, 0.5)  # the opacity of a translucent fill
COLORED = 24  # of 255: the mean spread of an image's channels above which it is no line drawing
DARK = 128  # of 255: paper that is darker is drawn on in its negative
SMOOTHED = (0.6, 1.4)  # pixels: what is finer is neither a line nor a flat
LINES = (0.75, 0.93)  # the share of pixels that are no line
LEVELS = (3, 6)  # of each channel in a flat picture, the second excluded
OUTLINED = 0.5  # share of the flat pictures


class Styles(Augmentation):
    """Draws an image in another style."""

    def policy(self, fill: Color) -> Policy | None:
        def restyle(image: Tensor) -> Tensor:
            import torch

            drawn = self.redraw(image.cpu().permute(1, 2, 0).numpy(), fill)  # scipy styles a GPU's images here, too
            if drawn is None:
                return image
            styled = torch.from_numpy(drawn.round().clip(0, 255).astype(np.uint8)).permute(2, 0, 1).contiguous()
            return styled.to(image.device)

        return restyle

    @abstractmethod
    def redraw(self, pixels: np.ndarray, fill: Color) -> np.ndarray | None:
        """Return the picture [H, W, 3] in another style, or None to leave it, by the global torch generator."""


@AUGMENTATIONS.register("drawing-styles")
class DrawingStyles(Styles):
    """Draws a line drawing in another style, on dark paper as on light; images in color stay as they are.

    Half of the drawings get thicker strokes. Then each is, at random, left as it is, filled, filled with its strokes
    knocked out, filled with translucent gray, or drawn in two random colors; a fifth is pixelated.
    """

    def redraw(self, pixels: np.ndarray, fill: Color) -> np.ndarray | None:
        import torch

        if float(np.ptp(pixels, axis=2).mean()) > COLORED:
            return None
        draw, paper, is_dark = torch.rand(12).numpy(), np.asarray(fill, dtype=np.float32), np.mean(fill) < DARK
        drawn = 255 - _restyled(255 - pixels, 255 - paper, draw) if is_dark else _restyled(pixels, paper, draw)
        if draw[11] < PIXELATED:
            drawn = _pixelated(drawn, int(CELLS[0] + draw[10] * (CELLS[1] - CELLS[0] + 1)))
        return drawn


@AUGMENTATIONS.register("photograph-styles")
class PhotographStyles(Styles):
    """Draws a photograph in another style: as dark lines on white, or as flat colors, half of these with outlines.

    A third of the images stays as it is.
    """

    def redraw(self, pixels: np.ndarray, fill: Color) -> np.ndarray | None:
        import torch

        draw = torch.rand(5).numpy()
        style = int(draw[0] * 3)
        if style == 0:
            return None
        return _drawn_as_lines(pixels, draw) if style == 1 else _drawn_flat(pixels, draw)


def _restyled(pixels: np.ndarray, paper: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """The drawing [H, W, 3] in a style chosen by the first nine of `draw`, numbers in [0, 1)."""
    from scipy.ndimage import binary_fill_holes, grey_dilation

    luma = pixels.mean(axis=2, dtype=np.float32)
    thickness, style, gray = draw[:3]
    ink = np.clip(1 - luma / max(float(paper.mean()), 1.0), 0, 1)
    if thickness < THICKENED:
        ink = grey_dilation(ink, size=2 * max(1, round(len(ink) / SIDE)) + 1)
    filled = binary_fill_holes(ink > 0.5)
    inside = np.maximum(ink, filled)
    stroke, area = np.zeros(3, np.float32), np.zeros(3, np.float32)
    style = int(style * 5)
    if style == 1:
        return _lay_over(paper, area, inside)
    if style == 2:
        return _lay_over(paper, area, np.where(filled & (ink <= 0.5), 1 - ink, 0))
    if style == 3:
        return _lay_over(_lay_over(paper, area, inside * (GRAY[0] + gray * (GRAY[1] - GRAY[0]))), stroke, ink)
    if style == 4:
        stroke, area = 255 * draw[3:6], 255 * draw[6:9]
        return _lay_over(_lay_over(paper, area, inside), stroke, ink)
    return _lay_over(paper, stroke, ink)


def _lay_over(below: np.ndarray, color: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """`color` [3] laid over the picture or color `below` with the opacity of each pixel, [H, W]."""
    return np.asarray(below * (1 - opacity[..., None]) + color * opacity[..., None], dtype=np.float32)


def _pixelated(picture: np.ndarray, cells: int) -> np.ndarray:
    """The picture [H, W, 3] in as many cells a side, each of the color at its center."""
    height, width = picture.shape[:2]
    rows, columns = ((np.arange(side) * cells // side * 2 + 1) * side // (2 * cells) for side in (height, width))
    return picture[rows][:, columns]


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
