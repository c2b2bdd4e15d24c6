"""Near copies: the same picture, resized, mirrored, cropped, moved, framed, lighter, darker, gray, or saved again.

All images are compared by their views, which costs little, and the few that may be copies are aligned.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from genrobust.leaks.alignment import NEAR, Pairs, distances
from genrobust.leaks.thumbnails import chroma_of, luma_of
from genrobust.leaks.views import PAIRS, Views, best_pairs, candidates, describe
from genrobust.store import Advance, Arrays, KeptParts, no_progress

# Images that are aligned with each image: a copy may also resemble a few other images.
CANDIDATES = 3
# Cosine of two views from which two images may be copies. The views of moved photographs, which resemble their
# originals least, have 0.83 or more in 98 of 100.
_ALIKE = 0.8
_BLOCK = 1024  # images described at once


@dataclass(frozen=True, slots=True)
class Neighbors:
    """The nearest other image of each of N.

    Attributes:
        index: int64 [N].
        distance: float64 [N], see `distances`. Below NEAR, one of the two is a copy of the other.
        mirrored: Whether one of the two is mirrored, bool [N].
        identical: Whether their thumbnails do not differ, bool [N].
    """

    index: np.ndarray
    distance: np.ndarray
    mirrored: np.ndarray
    identical: np.ndarray


@dataclass(frozen=True, slots=True)
class _Pictures:
    thumbnails: np.ndarray
    views: Views

    @classmethod
    def of(cls, thumbnails: np.ndarray) -> _Pictures:
        blocks = [thumbnails[start : start + _BLOCK] for start in range(0, len(thumbnails), _BLOCK)]
        return cls(thumbnails, Views.join([describe(luma_of(block)) for block in blocks]))


def find_near_copies(own: np.ndarray, others: np.ndarray, advance: Advance = no_progress) -> np.ndarray:
    """Return for each of N images the place of the image in `others` that it is a near copy of, -1 for none: int64 [N].

    Labels do not matter. A flat image is near nothing.

    Args:
        own, others: Thumbnails, uint8 [N, ROWS, SIDE] and [M, ROWS, SIDE].
        advance: Called with the number of images that are done.
    """
    pictures = _Pictures.of(others)
    found = [np.zeros(0, dtype=np.int64)]
    for start in range(0, len(own), _BLOCK):
        block = _Pictures.of(own[start : start + _BLOCK])
        neighbors = _nearest(block, pictures, bound=_ALIKE)
        found.append(np.where(neighbors.distance < NEAR, neighbors.index, -1))
        advance(len(block.thumbnails))
    return np.concatenate(found)


def nearest(
    queries: np.ndarray,
    references: np.ndarray,
    *,
    itself: bool = False,
    parts: KeptParts | None = None,
    advance: Advance = no_progress,
) -> Neighbors:
    """Find the nearest of M `references` to each of N `queries`, both thumbnails, however unlike they are.

    Args:
        itself: Whether the two are one set, of two images or more. No image is its own neighbor.
        parts: Keep what is found until all is done. They must depend on both sets.
        advance: That of a progress bar over the queries.
    """
    pictures = _Pictures.of(references)

    def find(items: range) -> Arrays:
        block = _Pictures.of(queries[items.start : items.stop])
        found = _nearest(block, pictures, first=items.start if itself else None)
        advance(len(items))
        return {name: getattr(found, name) for name in Neighbors.__slots__}

    return Neighbors(**(parts or KeptParts(None)).run(len(queries), _BLOCK, find, advance))


def _nearest(own: _Pictures, others: _Pictures, bound: float | None = None, first: int | None = None) -> Neighbors:
    """Find the nearest image of each own one.

    Args:
        bound: Give up images that are less like an own one, and those that turn out to be no near copies: an own image
            that has no others has the distance 1.
        first: The place of the first own image in `others`, if they hold the own ones.
    """
    places = candidates(own.views, others.views, CANDIDATES, -2.0 if bound is None else bound, first)
    rows, ranks = (places >= 0).nonzero(as_tuple=True)
    columns = places[rows, ranks]
    pairs, mirrored = _pairs(own, rows, others, columns)
    distance = torch.ones(places.shape)
    if len(rows):
        distance[rows, ranks] = distances(pairs, only_near=bound is not None)
    turned = torch.zeros(places.shape, dtype=torch.bool)
    turned[rows, ranks] = mirrored
    best = distance.argmin(1, keepdim=True)
    index = places.gather(1, best)[:, 0].numpy()
    same = own.thumbnails == others.thumbnails[index]
    return Neighbors(
        index=index,
        distance=distance.gather(1, best)[:, 0].double().numpy(),
        mirrored=turned.gather(1, best)[:, 0].numpy(),
        identical=same.all(axis=(1, 2)),
    )


def _pairs(own: _Pictures, rows: torch.Tensor, others: _Pictures, columns: torch.Tensor) -> tuple[Pairs, torch.Tensor]:
    """Return the pictures `rows` and `columns` in pairs, ready to be aligned, and which are mirrored."""
    compared = torch.tensor(PAIRS)
    best, mirrored = best_pairs(own.views, rows, others.views, columns)
    own_boxes = own.views.boxes(compared[best, 0], rows)
    other_boxes = others.views.boxes(compared[best, 1], columns)
    other_boxes = torch.where(mirrored[:, None], _mirrored_boxes(other_boxes), other_boxes)
    other_thumbnails = others.thumbnails[columns.numpy()]
    pairs = Pairs(
        own=luma_of(own.thumbnails[rows.numpy()]),
        other=_mirror(luma_of(other_thumbnails), mirrored),
        own_chroma=chroma_of(own.thumbnails[rows.numpy()]),
        other_chroma=_mirror(chroma_of(other_thumbnails), mirrored),
        own_boxes=own_boxes,
        # A border that was painted over the picture moves nothing: the same part shows the same.
        starts=torch.stack([other_boxes, own_boxes]),
        on_paper=own.views.has_border[rows] & others.views.has_border[columns],
    )
    return pairs, mirrored


def _mirror(planes: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
    planes[mirrored] = planes[mirrored].flip(-1)
    return planes


def _mirrored_boxes(boxes: torch.Tensor) -> torch.Tensor:
    left, top, right, bottom = boxes.unbind(1)
    return torch.stack([1 - right, top, 1 - left, bottom], 1)
