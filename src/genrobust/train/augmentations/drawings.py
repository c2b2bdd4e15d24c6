"""Styles for line drawings: domain knowledge, to be compared with what a generator learned from data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genrobust.recipe import AUGMENTATIONS, Augmentation, Color, Policy

if TYPE_CHECKING:  # recipes ask for the names, and torch takes seconds to load
    from torch import Tensor

THICKENED, PIXELATED = 0.5, 0.2  # shares of the images
CELLS = (14, 28)  # of a pixelated side
GRAY = (0.15, 0.5)  # the opacity of a translucent fill
COLORED = 24  # of 255: the mean spread of an image's channels above which it is no line drawing
SIDE = 64  # pixels at which a stroke is thickened by one on each side


@AUGMENTATIONS.register("drawing-styles")
class DrawingStyles(Augmentation):
    """Draws a black line drawing in another style; images in color stay as they are.

    Half of the drawings get thicker strokes. Then each is, at random, left as it is, filled, filled with its strokes
    knocked out, filled with translucent gray, or drawn in two random colors; a fifth is pixelated.
    """

    def policy(self, fill: Color) -> Policy | None:
        paper = np.asarray(fill, dtype=np.float32)

        def restyle(image: Tensor) -> Tensor:
            import torch

            pixels = image.cpu().permute(1, 2, 0).numpy()  # a GPU's images are styled here, too: scipy has no other way
            if float(np.ptp(pixels, axis=2).mean()) > COLORED:
                return image
            draw = torch.rand(12).numpy()
            drawn = _restyled(pixels, paper, draw)
            if draw[11] < PIXELATED:
                drawn = _pixelated(drawn, int(CELLS[0] + draw[10] * (CELLS[1] - CELLS[0] + 1)))
            styled = torch.from_numpy(drawn.round().clip(0, 255).astype(np.uint8)).permute(2, 0, 1).contiguous()
            return styled.to(image.device)

        return restyle


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
