"""Views: the parts of a picture that another picture may be a copy of, and which images to align by them.

A copy may be a crop of its original, moved, or inside a border. Each picture is therefore described by several views of
it: the whole, the part inside its plain border, its center, and its four corners. A descriptor holds the lowest
frequencies of a view, without brightness and contrast. Two pictures are worth aligning if a view of one is like a view
of the other, or like its mirror image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch

from genrobust.leaks.borders import inner_boxes

WHOLE, INNER, CENTER, CORE = 0, 1, 2, 3
# The views that are the same part of every picture, as shares of its width and height. A copy that is cropped to 90 %
# is the center, one whose border was painted over at 64 px is the core, one that was moved resembles a corner.
_FIXED = {
    WHOLE: (0.0, 0.0, 1.0, 1.0),
    CENTER: (0.05, 0.05, 0.95, 0.95),
    CORE: (0.125, 0.125, 0.875, 0.875),
    4: (0.0, 0.0, 0.92, 0.92),
    5: (0.08, 0.0, 1.0, 0.92),
    6: (0.0, 0.08, 0.92, 1.0),
    7: (0.08, 0.08, 1.0, 1.0),
}
_CORNERS = (4, 5, 6, 7)
# The views of an image and of another that are compared.
PAIRS = (
    *((WHOLE, WHOLE), (INNER, INNER), (INNER, WHOLE), (WHOLE, INNER)),
    *((CENTER, WHOLE), (WHOLE, CENTER), (INNER, CORE), (CORE, INNER)),
    *((WHOLE, corner) for corner in _CORNERS),
    *((corner, WHOLE) for corner in _CORNERS),
)
# Frequencies below it are kept, in half cycles a view: a copy that is moved by 1/32 of the view keeps them.
_FREQUENCIES = 7
# Contrast of a view, in gray levels, below which it counts as flat.
_FLAT = 1.0
# Images that are compared with others at once: their products fit the cache of a core.
_OWN, _OTHERS = 256, 1024


@dataclass(frozen=True, slots=True)
class Views:
    """The views of N pictures: `inner` are the boxes inside their borders, float32 [N, 4].

    Descriptors have two parts, [views, N, D]: mirroring a picture changes the sign of `odd` and keeps `even`. Together
    they have length 1, and 0 for a flat view.
    """

    inner: torch.Tensor
    even: torch.Tensor
    odd: torch.Tensor

    @classmethod
    def join(cls, parts: Sequence[Views]) -> Views:
        return cls(
            inner=torch.cat([part.inner for part in parts]),
            even=torch.cat([part.even for part in parts], 1),
            odd=torch.cat([part.odd for part in parts], 1),
        )

    def __len__(self) -> int:
        return len(self.inner)

    @property
    def has_border(self) -> torch.Tensor:
        """Which pictures have a plain border, bool [N]."""
        return (self.inner != torch.tensor(_FIXED[WHOLE])).any(1)

    def boxes(self, views: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Return the box of each of P `views` of the pictures at `places`: float32 [P, 4]."""
        fixed = torch.tensor([_FIXED.get(view, _FIXED[WHOLE]) for view in range(len(self.even))])
        return torch.where((views == INNER)[:, None], self.inner[places], fixed[views])


def describe(luma: torch.Tensor) -> Views:
    """Describe pictures by their brightness, float32 [N, S, S]."""
    side = luma.shape[-1]
    inner = inner_boxes(luma)
    even, odd = [], []
    for view in range(len(_FIXED) + 1):
        boxes = inner if view == INNER else torch.tensor([_FIXED[view]])
        columns = _cosines(boxes[:, 0], boxes[:, 2], side)
        rows = _cosines(boxes[:, 1], boxes[:, 3], side)
        spectrum = (rows @ luma @ columns.transpose(1, 2)).flatten(1)
        kept_even, kept_odd, weights = _kept_frequencies()
        spectrum = spectrum * weights
        parts = spectrum[:, kept_even], spectrum[:, kept_odd]
        length = torch.cat(parts, 1).norm(dim=1, keepdim=True)
        scale = torch.where(length < _FLAT, 0.0, 1 / length.clamp(min=_FLAT))
        even.append(parts[0] * scale)
        odd.append(parts[1] * scale)
    return Views(inner, torch.stack(even), torch.stack(odd))


def _cosines(start: torch.Tensor, end: torch.Tensor, side: int) -> torch.Tensor:
    """Return weights for the cosine transform of the pixels from `start` to `end`: [N, frequencies, side].

    A pixel counts by the share of it that is inside.
    """
    start, end = start[:, None] * side, end[:, None] * side
    pixels = torch.arange(side)
    left = torch.maximum(pixels, start)
    right = torch.minimum(pixels + 1, end)
    weight = (right - left).clamp(min=0) / (end - start)
    place = ((left + right) / 2 - start) / (end - start)
    frequencies = torch.arange(_FREQUENCIES)[:, None]
    return torch.cos(math.pi * frequencies * place[:, None]) * weight[:, None]


@cache
def _kept_frequencies() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the places of the even and odd frequencies that are kept, and the weights of all.

    Pictures have most of their contrast at the lowest frequencies. A weight of the root of the frequency lets the
    others count.
    """
    vertical, horizontal = torch.meshgrid(torch.arange(_FREQUENCIES), torch.arange(_FREQUENCIES), indexing="ij")
    frequency = torch.hypot(vertical.float(), horizontal.float())
    kept = (frequency > 0) & (frequency <= _FREQUENCIES - 0.5)
    is_odd = horizontal % 2 == 1
    even = (kept & ~is_odd).flatten().nonzero()[:, 0]
    odd = (kept & is_odd).flatten().nonzero()[:, 0]
    # A cosine has a mean square of 1/2, the constant one of 1.
    norm = torch.where(vertical > 0, 2**0.5, 1.0) * torch.where(horizontal > 0, 2**0.5, 1.0)
    return even, odd, (frequency.sqrt() * norm).flatten()


def candidates(own: Views, others: Views, count: int, bound: float, first: int | None = None) -> torch.Tensor:
    """Return the places of the `count` pictures of `others` that are most like each own one: int64 [N, count].

    Args:
        bound: Pictures that are less like it do not count, and have the place -1.
        first: The place of the first own picture in `others`, if they hold the own ones: none is its own candidate.
    """
    chosen = [_candidates(own, slice(start, start + _OWN), others, count, bound, first) for start in _starts(own, _OWN)]
    return torch.cat(chosen)


def _starts(views: Views, step: int) -> range:
    return range(0, len(views), step)


def _candidates(own: Views, rows: slice, others: Views, count: int, bound: float, first: int | None) -> torch.Tensor:
    likeness, places = [], []
    for start in _starts(others, _OTHERS):
        alike = _likeness(own, rows, others, slice(start, start + _OTHERS))
        if first is not None:
            own_places = torch.arange(first + rows.start, first + rows.start + len(alike)) - start
            inside = (own_places >= 0) & (own_places < alike.shape[1])
            alike[inside.nonzero()[:, 0], own_places[inside]] = -torch.inf
        most, place = alike.topk(min(count, alike.shape[1]))
        likeness.append(most)
        places.append(place + start)
    all_likeness, all_places = torch.cat(likeness, 1), torch.cat(places, 1)
    most, order = all_likeness.topk(min(count, all_likeness.shape[1]))
    return torch.where((most >= bound) & (most > -torch.inf), all_places.gather(1, order), -1)


def _likeness(own: Views, rows: slice, others: Views, columns: slice) -> torch.Tensor:
    """Return the largest cosine of compared views, mirrored or not: float32 [rows, columns]."""
    best = torch.empty(0)
    for own_view, other_view in PAIRS:
        even = own.even[own_view, rows] @ others.even[other_view, columns].T
        odd = own.odd[own_view, rows] @ others.odd[other_view, columns].T
        alike = even.add_(odd.abs_())
        best = alike if not len(best) else torch.maximum(best, alike, out=best)
    return best


def best_pairs(
    own: Views, rows: torch.Tensor, others: Views, columns: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return for P pictures `rows` and `columns` the most similar pair of views, and whether one is mirrored.

    Returns:
        The place in PAIRS, int64 [P], and bool [P].
    """
    likeness, mirrored = [], []
    for own_view, other_view in PAIRS:
        even = (own.even[own_view, rows] * others.even[other_view, columns]).sum(1)
        odd = (own.odd[own_view, rows] * others.odd[other_view, columns]).sum(1)
        likeness.append(even + odd.abs())
        mirrored.append(odd < 0)
    best = torch.stack(likeness).argmax(0)
    return best, torch.stack(mirrored).gather(0, best[None])[0]
