"""Alignment: how much two pictures differ after one is moved and scaled to fit the other.

One picture is moved and scaled by Gauss-Newton steps, first blurred and small, then sharper (efficient second-order
minimization, Malis 2004). Brightness and contrast do not count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import torch
from torch.nn.functional import avg_pool2d, pad

# Two pictures whose distance is below it count as copies. See `distances` for what it measures.
NEAR = 0.048
# Two drawings on plain paper, of which one is gray at least, have fewer details to differ in than other pictures: their
# differences count by this factor.
_DRAWING = 2.0
# Weights of the squared difference of the worst block. A lighter copy has blocks in which white is clipped.
_BLOCK, _DRAWING_BLOCK = 1 / 6, 1 / 2
# Weight of the share of colors that differs: files store colors at half the size.
_COLOR_SHARE = 1 / 2
# A copy may change the contrast of its original by at most the first factor, and that of a drawing by the second one.
# Designers draw one thing with lines of other widths, and thin lines are paler at the size of a thumbnail.
_CONTRAST, _DRAWING_CONTRAST = 1.45, 1.27
# A copy may be stretched by at most this factor. Pictures are compared as squares, so that resizing stretches nothing.
_STRETCH = 1.03
# A copy may be larger or smaller by at most the first factor, and on plain paper by the second one.
_SCALE, _PAPER_SCALE = 1.5, 1.3
# Root mean square of the chroma, of 128, from which a picture is colored.
_COLORED = 6.0
# Root mean square of the contrast, of 255, below which a picture is flat.
_FLAT = 1.0
# Share of a view on which two pictures must overlap.
_OVERLAP = 0.5
# Correlation at the coarse level, below which two pictures are no copies. 995 of 1,000 planted copies have 0.966.
_HOPEFUL = 0.95
# By what factor shapes may differ more at the coarse level.
_SLACK = 1.05
# The largest step of the alignment, as a share of the view, and the largest move in all, as a share of the picture.
_MOVE, _REACH = 0.06, 0.12
# Blocks a side in which the difference of two pictures is averaged.
_BLOCKS = 8
# Pairs that are aligned at once: their gradients fit the cache of a core.
_BATCH = 128


@dataclass(frozen=True, slots=True)
class _Level:
    """A size at which views are compared.

    Attributes:
        side: Pixels of a view a side.
        per_pixel: Samples a side that are averaged for a pixel.
        soft: Pixels by which the view is blurred then, inside the view: no border blurs into it.
        steps: Number of steps of the alignment.
    """

    side: int
    per_pixel: int = 1
    soft: int = 0
    steps: int = 0


# A copy may have half the size of its original, and the sharpness of half the pixels: the last level is blurred, too.
_COARSE = _Level(side=16, per_pixel=2, soft=1, steps=4)
_FINE = _Level(side=32, soft=1, steps=3)
_LAST = _Level(side=48, soft=1)
_COLOR = _Level(side=12)


@dataclass(frozen=True, slots=True)
class Pairs:
    """P pairs of pictures, and where to begin.

    Attributes:
        own, other: Brightness, float32 [P, S, S]. Mirrored pictures are turned already.
        own_chroma, other_chroma: float32 [P, 2, C, C].
        own_boxes: The part of the own picture that is compared, float32 [P, 4].
        starts: Parts of the other picture that may show the same, float32 [K, P, 4].
        on_paper: Whether both have a plain border, bool [P].
    """

    own: torch.Tensor
    other: torch.Tensor
    own_chroma: torch.Tensor
    other_chroma: torch.Tensor
    own_boxes: torch.Tensor
    starts: torch.Tensor
    on_paper: torch.Tensor

    def __len__(self) -> int:
        return len(self.own)

    def at(self, places: torch.Tensor | slice) -> Pairs:
        return Pairs(
            own=self.own[places],
            other=self.other[places],
            own_chroma=self.own_chroma[places],
            other_chroma=self.other_chroma[places],
            own_boxes=self.own_boxes[places],
            starts=self.starts[:, places],
            on_paper=self.on_paper[places],
        )


def distances(pairs: Pairs, only_near: bool = False) -> torch.Tensor:
    """Align each pair and return how much it differs: float32 [P], 0 for a copy to 1 for nothing alike.

    It is the largest of four numbers: the share of squared contrast that differs, this share of the details (without
    the result of a blur), the difference of the worst of 64 blocks, and the share of colors that differs, if both have
    colors. The last two have a lower weight, and drawings a higher one. Pictures that differ in contrast, shape or size
    by more than a copy does, and flat ones, have a distance of 1.

    Args:
        only_near: Give up pairs that are no copies early: their distance is 1.
    """
    batches = [pairs.at(slice(start, start + _BATCH)) for start in range(0, len(pairs), _BATCH)]
    return torch.cat([_batch_distances(batch, only_near) for batch in batches])


def _batch_distances(pairs: Pairs, only_near: bool) -> torch.Tensor:
    found = torch.ones(len(pairs))
    boxes = _align(pairs, _best_starts(pairs), _COARSE)
    hopeful = torch.ones(len(pairs), dtype=torch.bool)
    if only_near:
        hopeful = _correlation(pairs, boxes, _COARSE) >= _HOPEFUL
        hopeful &= ~_unlike_shapes(pairs, boxes, _SLACK)
    if hopeful.any():
        left = pairs.at(hopeful)
        found[hopeful] = _differences(left, _align(left, boxes[hopeful], _FINE))
    return found


def _best_starts(pairs: Pairs) -> torch.Tensor:
    correlations = torch.stack([_correlation(pairs, boxes, _COARSE) for boxes in pairs.starts])
    return pairs.starts[correlations.argmax(0), torch.arange(len(pairs))]


def _correlation(pairs: Pairs, boxes: torch.Tensor, level: _Level) -> torch.Tensor:
    own, other, overlap = _views(pairs, boxes, level)
    return _correlate(_centered(own, overlap), _centered(other, overlap))


def _views(pairs: Pairs, boxes: torch.Tensor, level: _Level) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the views of both pictures, [P, side, side], and 1 where both pictures have pixels."""
    own, own_inside = _view(pairs.own, pairs.own_boxes, level)
    other, other_inside = _view(pairs.other, boxes, level)
    return own, other, own_inside * other_inside


def _view(pictures: torch.Tensor, boxes: torch.Tensor, level: _Level) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the parts of pictures [P, S, S] in `boxes`, [P, side, side], and 1 where they are inside the picture.

    The edge of a view counts as outside: its pixels may be part border.
    """
    averaging = _averaging(level)
    columns, x_inside = _line_samples(boxes[:, 0], boxes[:, 2], level.side * level.per_pixel, pictures.shape[-1])
    rows, y_inside = _line_samples(boxes[:, 1], boxes[:, 3], level.side * level.per_pixel, pictures.shape[-1])
    view = (averaging @ rows) @ pictures @ (averaging @ columns).transpose(1, 2)
    shape = (level.side, level.per_pixel)
    inside_columns = x_inside.unflatten(1, shape).all(2) & _interior(level.side)
    inside_rows = y_inside.unflatten(1, shape).all(2) & _interior(level.side)
    return view, (inside_rows[:, :, None] & inside_columns[:, None, :]).float()


def _line_samples(start: torch.Tensor, end: torch.Tensor, count: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weights that sample a line of `size` pixels linearly, at `count` places from `start` to `end`, as shares.

    Returns:
        The weights of the pixels, [P, count, size], and which places are inside the line, bool [P, count].
    """
    along = (torch.arange(count) + 0.5) / count
    places = (start[:, None] + along * (end - start)[:, None]) * size - 0.5
    inside = (places >= 0) & (places <= size - 1)
    distance = places.clamp(0, size - 1)[..., None] - torch.arange(size)
    return (1 - distance.abs()).clamp(min=0), inside


@cache
def _averaging(level: _Level) -> torch.Tensor:
    """Return the matrix that averages the samples of a line to pixels and blurs them: [side, side * per_pixel]."""
    pooled = torch.eye(level.side).repeat_interleave(level.per_pixel, 1) / level.per_pixel
    return _blurring(level.side, level.soft) @ pooled


@cache
def _blurring(side: int, soft: int) -> torch.Tensor:
    """Return the matrix that averages the pixels of a line up to `soft` away, [side, side]; the edge is repeated."""
    places = torch.arange(side)[:, None] + torch.arange(-soft, soft + 1)
    weights = torch.zeros(side, side)
    return weights.scatter_add_(1, places.clamp(0, side - 1), torch.full(places.shape, 1 / (2 * soft + 1)))


@cache
def _interior(side: int) -> torch.Tensor:
    """Mark the pixels of a line that are not at its edge: bool [side]."""
    edge = max(1, side // 16)
    places = torch.arange(side)
    return (places >= edge) & (places < side - edge)


def _align(pairs: Pairs, starts: torch.Tensor, level: _Level) -> torch.Tensor:
    """Return the boxes of the other pictures that fit the own views best, from `starts` on."""
    boxes = starts
    own, own_inside = _view(pairs.own, pairs.own_boxes, level)
    own_slopes = torch.stack(_slopes(own))
    for _ in range(level.steps):
        other, other_inside = _view(pairs.other, boxes, level)
        boxes = _moved(boxes, _step(own, own_slopes, other, own_inside * other_inside))
        boxes = torch.minimum(torch.maximum(boxes, starts - _REACH), starts + _REACH)
    return boxes


def _step(own: torch.Tensor, own_slopes: torch.Tensor, other: torch.Tensor, overlap: torch.Tensor) -> torch.Tensor:
    """Return the move and the enlargement of the other views: [P, 4], x, y, width and height as shares."""
    side = own.shape[-1]
    along = (torch.arange(side) + 0.5) / side - 0.5
    centered, target = _centered(other, overlap), _centered(own, overlap)
    gain = (centered * target).sum((1, 2)) / target.square().sum((1, 2)).clamp(min=1e-3)
    gain = gain.clamp(0.3, 3)[:, None, None]
    slopes = (torch.stack(_slopes(other)) + gain * own_slopes) / 2 * side * overlap
    columns = [slopes[0], slopes[1], slopes[0] * along, slopes[1] * along[:, None], target, overlap]
    jacobian = torch.stack(columns, -1).flatten(1, 2)
    missing = (gain * target - centered).flatten(1)[..., None]
    normal = jacobian.transpose(1, 2) @ jacobian
    damping = normal.diagonal(dim1=1, dim2=2) * 1e-3 + 1e-3
    solved = torch.linalg.solve(normal + torch.diag_embed(damping), jacobian.transpose(1, 2) @ missing)
    return solved[:, :4, 0].clamp(-_MOVE, _MOVE)


def _moved(boxes: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    center, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    center = center + step[:, :2] * size
    half = size * (1 + step[:, 2:]) / 2
    return torch.cat([center - half, center + half], 1)


def _differences(pairs: Pairs, boxes: torch.Tensor) -> torch.Tensor:
    """Return the distances of aligned pairs, as `distances` says."""
    own, other, overlap = _views(pairs, boxes, _LAST)
    mine, theirs = _centered(own, overlap), _centered(other, overlap)
    area = overlap.sum((1, 2)).clamp(min=1)
    contrast, their_contrast = _rms(mine, area), _rms(theirs, area)
    details = [_centered(part - _soft(part, overlap), overlap) for part in (mine, theirs)]
    residual = mine / contrast[:, None, None] - theirs / their_contrast[:, None, None]
    worst_block = avg_pool2d(residual[:, None], _LAST.side // _BLOCKS).abs().amax((1, 2, 3))
    color_share, are_colored = _compare_colors(pairs, boxes)
    are_drawings = pairs.on_paper & ~are_colored
    shares = [
        (1 - _correlate(mine, theirs)) * torch.where(are_drawings, _DRAWING, 1.0),
        (1 - _correlate(*details)) * torch.where(are_drawings, _DRAWING, 1.0),
        worst_block.square() * torch.where(are_drawings, _DRAWING_BLOCK, _BLOCK),
        color_share * _COLOR_SHARE,
    ]
    distance = torch.stack(shares).amax(0)
    unlike = _unlike_shapes(pairs, boxes)
    unlike |= _factor(their_contrast / contrast) > torch.where(are_drawings, _DRAWING_CONTRAST, _CONTRAST)
    unlike |= area < _OVERLAP * _LAST.side**2
    unlike |= torch.minimum(contrast, their_contrast) <= _FLAT
    return torch.where(unlike, 1.0, distance.clamp(0, 1))


def _unlike_shapes(pairs: Pairs, boxes: torch.Tensor, slack: float = 1.0) -> torch.Tensor:
    """Return which pairs differ in shape or size by more than a copy does, times `slack`: bool [P]."""
    scale = (boxes[:, 2:] - boxes[:, :2]) / (pairs.own_boxes[:, 2:] - pairs.own_boxes[:, :2])
    largest = torch.where(pairs.on_paper, _PAPER_SCALE, _SCALE) * slack
    too_large = (_factor(scale) > largest[:, None]).any(1)
    return too_large | (_factor(scale[:, 0] / scale[:, 1]) > _STRETCH * slack)


def _factor(ratio: torch.Tensor) -> torch.Tensor:
    return torch.maximum(ratio, 1 / ratio)


def _compare_colors(pairs: Pairs, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the share of the contrast of colors that differs, 0 to 1, and whether both have colors: else it is 0."""
    chroma = replace(
        pairs,
        own=pairs.own_chroma.flatten(0, 1),
        other=pairs.other_chroma.flatten(0, 1),
        own_boxes=pairs.own_boxes.repeat_interleave(2, 0),
    )
    own, other, overlap = _views(chroma, boxes.repeat_interleave(2, 0), _COLOR)
    mine = (own * overlap).reshape(len(pairs), -1)
    theirs = (other * overlap).reshape(len(pairs), -1)
    area = overlap[::2].sum((1, 2))
    are_colored = torch.minimum(mine.square().sum(1), theirs.square().sum(1)) > _COLORED**2 * area
    alike = (mine * theirs).sum(1) / (mine.norm(dim=1) * theirs.norm(dim=1)).clamp(min=1e-3)
    return torch.where(are_colored, (1 - alike) / 2, 0.0), are_colored


def _soft(part: torch.Tensor, overlap: torch.Tensor) -> torch.Tensor:
    """Blur a view by an eighth of its side, with the pixels inside both pictures."""
    blurring = _blurring(part.shape[-1], part.shape[-1] // _BLOCKS)
    weights = blurring @ overlap @ blurring.T
    return blurring @ (part * overlap) @ blurring.T / weights.clamp(min=0.05)


def _slopes(view: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the slopes along x and y, [P, side, side]."""
    padded = pad(view[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    across = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    down = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    return across, down


def _centered(view: torch.Tensor, overlap: torch.Tensor) -> torch.Tensor:
    """Subtract the mean over the overlap; 0 elsewhere."""
    area = overlap.sum((1, 2), keepdim=True).clamp(min=1)
    return (view - (view * overlap).sum((1, 2), keepdim=True) / area) * overlap


def _rms(centered: torch.Tensor, area: torch.Tensor) -> torch.Tensor:
    return (centered.square().sum((1, 2)) / area).sqrt().clamp(min=1e-3)


def _correlate(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    energy = first.square().sum((1, 2)) * second.square().sum((1, 2))
    return (first * second).sum((1, 2)) / energy.clamp(min=1e-6).sqrt()
