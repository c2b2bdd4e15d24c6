"""Finds the part of a picture inside its plain border: a frame, the paper round a drawing, or both."""

from __future__ import annotations

import torch

# Of 255: contrast below it is paper, or what JPEG leaves round a line.
FAINT = 20.0
# Share of the pixels at the edge that have the border's brightness.
_PLAIN = 0.9
# Share of the picture's width and height below which the part inside is too small to be compared.
_SMALLEST = 0.2
# A photograph in a frame has one border, a drawing on paper in a frame has two.
_BORDERS = 2


def inner_boxes(luma: torch.Tensor) -> torch.Tensor:
    """Return the box inside the plain borders of each picture: float32 [N, 4], left, top, right, bottom in [0, 1].

    It is the whole picture where the edge is not plain. Boxes end between pixels, so that they do not depend on the
    size at which a picture is read.

    Args:
        luma: float32 [N, S, S].
    """
    side = luma.shape[-1]
    boxes = torch.tensor([0.0, 0.0, side, side]).repeat(len(luma), 1)
    first = torch.zeros(len(luma), 2, dtype=torch.long)
    last = torch.full((len(luma), 2), side - 1)
    unfinished = torch.ones(len(luma), dtype=torch.bool)
    for _ in range(_BORDERS):
        brightness, plain = _border_brightness(luma, first, last)
        inside = _inside(side, first, last)
        contrast = (luma - brightness[:, None, None]).abs() * inside
        found = _extents(contrast)
        large = (found[:, 2:] - found[:, :2] >= _SMALLEST * side).all(1)
        unfinished &= plain & large
        boxes[unfinished] = found[unfinished]
        # The pixels at the edge of the box are part border: the next border begins inside them.
        first[unfinished] = found[unfinished, :2].ceil().long() + 1
        last[unfinished] = found[unfinished, 2:].floor().long() - 2
        unfinished &= (last - first >= _SMALLEST * side).all(1)
    return boxes / side


def _inside(side: int, first: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """Mark the pixels between `first` and `last` (x and y, int64 [N, 2], inclusive): bool [N, S, S]."""
    places = torch.arange(side)
    columns = (places >= first[:, :1]) & (places <= last[:, :1])
    rows = (places >= first[:, 1:]) & (places <= last[:, 1:])
    return rows[:, :, None] & columns[:, None, :]


def _border_brightness(
    luma: torch.Tensor, first: torch.Tensor, last: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the brightness of the edge of each part, float32 [N], and whether nearly all of the edge has it."""
    index = torch.arange(len(luma))
    inside = _inside(luma.shape[-1], first, last)
    lines, within = [], []
    for end in (first, last):
        lines += [luma[index, end[:, 1]], luma[index, :, end[:, 0]]]
        within += [inside[index, end[:, 1]], inside[index, :, end[:, 0]]]
    edge, is_edge = torch.cat(lines, 1), torch.cat(within, 1)
    brightness = torch.where(is_edge, edge, torch.nan).nanmedian(1).values
    same = ((edge - brightness[:, None]).abs() < FAINT) & is_edge
    return brightness, same.sum(1) >= _PLAIN * is_edge.sum(1)


def _extents(contrast: torch.Tensor) -> torch.Tensor:
    """Return the box of the pixels with contrast: float32 [N, 4], all 0 without any."""
    left, right = _extent(contrast.amax(1))
    top, bottom = _extent(contrast.amax(2))
    return torch.stack([left, top, right, bottom], 1)


def _extent(contrast: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where contrast [N, S] begins and ends. A pixel counts by its share of the contrast of the next one."""
    size = contrast.shape[1]
    seen = contrast >= FAINT
    first = seen.float().argmax(1)
    last = size - 1 - seen.flip(1).float().argmax(1)
    start = first + 1 - _share(contrast, first, first + 1)
    end = last + _share(contrast, last, last - 1)
    any_seen = seen.any(1)
    return torch.where(any_seen, start, 0.0), torch.where(any_seen, end, 0.0)


def _share(contrast: torch.Tensor, edge: torch.Tensor, next_one: torch.Tensor) -> torch.Tensor:
    of_edge = contrast.gather(1, edge[:, None])[:, 0]
    of_next = contrast.gather(1, next_one.clamp(0, contrast.shape[1] - 1)[:, None])[:, 0]
    return (of_edge / of_next.clamp(min=1)).clamp(0, 1)
