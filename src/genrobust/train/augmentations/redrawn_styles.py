"""Other styles for drawings and photographs: domain knowledge, to compare with a generator that learned from data."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from genrobust.recipe import AUGMENTATIONS, Augmentation, Color, Policy

if TYPE_CHECKING:  # Listing the policies must not load torch, which takes seconds.
    from torch import Tensor

# Image side for which widths are given, in pixels: there, a stroke is thickened by one pixel on each side.
SIDE = 64
# Shares of the drawings that are thickened and pixelated, and of the flat pictures that get outlines.
THICKENED, PIXELATED, OUTLINED = 0.5, 0.2, 0.5
CELLS = (14, 28)  # cells per side of a pixelated picture
GRAY = (0.15, 0.5)  # opacity of a translucent fill
# Mean spread of the channels above which an image is no line drawing, and mean of dark paper, of 255.
COLORED, DARK = 24, 128
SMOOTHED = (0.6, 1.4)  # pixels: smaller details are neither lines nor flat areas
# Quantile of the steepness below which a pixel is no line.
LINES = (0.75, 0.93)
LEVELS = (3, 6)  # of each channel of a flat picture; the upper end is excluded


class Styles(Augmentation):
    """Draws an image in another style."""

    def policy(self, fill: Color) -> Policy | None:
        def restyle(image: Tensor) -> Tensor:
            import torch

            # scipy works on the CPU, also for images on a GPU.
            pixels = image.cpu().permute(1, 2, 0).numpy()
            drawn = self.redraw(pixels, fill)
            if drawn is None:
                return image
            levels = drawn.round().clip(0, 255).astype(np.uint8)
            return torch.from_numpy(levels).permute(2, 0, 1).contiguous().to(image.device)

        return restyle

    @abstractmethod
    def redraw(self, pixels: np.ndarray, fill: Color) -> np.ndarray | None:
        """Draw uint8 [H, W, 3] in another style, by the global torch generator; None leaves the image as it is."""


@AUGMENTATIONS.register("drawing-styles")
class DrawingStyles(Styles):
    """Draws a line drawing in another style, on dark paper as on light; images in color stay as they are.

    Half of the drawings get thicker strokes. Then each is, at random, left as it is, filled, filled with its strokes
    knocked out, filled with translucent gray, or drawn in two random colors; a fifth is pixelated.
    """

    def redraw(self, pixels: np.ndarray, fill: Color) -> np.ndarray | None:
        import torch

        spread = float(np.ptp(pixels, axis=2).mean())
        if spread > COLORED:
            return None
        draws = torch.rand(12).numpy()
        paper = np.asarray(fill, dtype=np.float32)
        if np.mean(fill) < DARK:
            # Draw on the negative, whose paper is light.
            drawn = 255 - _redraw_strokes(255 - pixels, 255 - paper, draws)
        else:
            drawn = _redraw_strokes(pixels, paper, draws)
        if draws[11] < PIXELATED:
            cells = int(CELLS[0] + draws[10] * (CELLS[1] - CELLS[0] + 1))
            drawn = _pixelate(drawn, cells)
        return drawn


@AUGMENTATIONS.register("photograph-styles")
class PhotographStyles(Styles):
    """Draws a photograph in another style: as dark lines on white, or as flat colors, half of these with outlines.

    A third of the images stays as it is.
    """

    def redraw(self, pixels: np.ndarray, fill: Color) -> np.ndarray | None:
        import torch

        draws = torch.rand(5).numpy()
        style = int(draws[0] * 3)
        if style == 0:
            return None
        if style == 1:
            return _draw_lines(pixels, draws)
        return _draw_flat(pixels, draws)


def _redraw_strokes(pixels: np.ndarray, paper: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Redraw a drawing [H, W, 3] on light paper; the first nine of `draws`, in [0, 1), choose the style."""
    from scipy.ndimage import binary_fill_holes, grey_dilation

    thickness, style, gray = draws[:3]
    luma = pixels.mean(axis=2, dtype=np.float32)
    ink = np.clip(1 - luma / max(float(paper.mean()), 1.0), 0, 1)  # [H, W]: 0 is paper, 1 the darkest stroke
    if thickness < THICKENED:
        ink = grey_dilation(ink, size=2 * max(1, round(len(ink) / SIDE)) + 1)
    filled = binary_fill_holes(ink > 0.5)
    inside = np.maximum(ink, filled)
    black = np.zeros(3, np.float32)
    match int(style * 5):
        case 1:  # filled
            return _lay_over(paper, black, inside)
        case 2:  # filled, with the strokes knocked out
            area = filled & (ink <= 0.5)
            return _lay_over(paper, black, np.where(area, 1 - ink, 0))
        case 3:  # filled with translucent gray
            opacity = GRAY[0] + gray * (GRAY[1] - GRAY[0])
            return _lay_over(_lay_over(paper, black, inside * opacity), black, ink)
        case 4:  # two random colors
            stroke_color, fill_color = 255 * draws[3:6], 255 * draws[6:9]
            return _lay_over(_lay_over(paper, fill_color, inside), stroke_color, ink)
        case _:
            return _lay_over(paper, black, ink)


def _lay_over(below: np.ndarray, color: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Lay `color` [3] over the picture or color `below`, with the opacity of each pixel [H, W]: float32 [H, W, 3]."""
    opacity = opacity[..., None]
    return np.asarray(below * (1 - opacity) + color * opacity, dtype=np.float32)


def _pixelate(picture: np.ndarray, cells: int) -> np.ndarray:
    """Give each of `cells` x `cells` areas of a picture [H, W, 3] the color at its center."""
    height, width = picture.shape[:2]
    rows = _cell_centers(height, cells)
    columns = _cell_centers(width, cells)
    return picture[rows][:, columns]


def _cell_centers(side: int, cells: int) -> np.ndarray:
    """Return for each of `side` pixels the center of its cell, int64 [side]."""
    cell = np.arange(side) * cells // side
    return (2 * cell + 1) * side // (2 * cells)


def _draw_lines(pixels: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Draw the edges of a picture [H, W, 3] as dark lines on white."""
    ink = _edges(_smooth(pixels, draws[1]), draws[2])
    return np.repeat(255 * (1 - ink)[..., None], 3, axis=2)


def _draw_flat(pixels: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Draw a picture [H, W, 3] in few colors, each channel stretched to its full range."""
    smooth = _smooth(pixels, draws[1])
    low, high = np.percentile(smooth, (2, 98))
    steps = int(LEVELS[0] + draws[3] * (LEVELS[1] - LEVELS[0])) - 1
    stretched = np.clip((smooth - low) / max(float(high - low), 1.0), 0, 1)
    flat = np.round(stretched * steps) / steps * 255
    if draws[4] < OUTLINED:
        flat *= 1 - _edges(smooth, draws[2])[..., None]
    return np.asarray(flat, dtype=np.float32)


def _smooth(pixels: np.ndarray, amount: float) -> np.ndarray:
    """Blur a picture [H, W, 3]; `amount` in [0, 1) chooses how much."""
    from scipy.ndimage import gaussian_filter

    sigma = (SMOOTHED[0] + amount * (SMOOTHED[1] - SMOOTHED[0])) * len(pixels) / SIDE
    smooth: np.ndarray = gaussian_filter(pixels.astype(np.float32), (sigma, sigma, 0))
    return smooth


def _edges(smooth: np.ndarray, share: float) -> np.ndarray:
    """Return how much each pixel belongs to a line, [H, W] in [0, 1]: by the steepest of the three channels."""
    from scipy.ndimage import sobel

    steepness = np.hypot(sobel(smooth, 0), sobel(smooth, 1)).max(axis=2)
    no_line = LINES[0] + share * (LINES[1] - LINES[0])
    low, high = np.quantile(steepness, (no_line, 0.99))
    return np.asarray(np.clip((steepness - low) / max(float(high - low), 1.0), 0, 1), dtype=np.float32)
