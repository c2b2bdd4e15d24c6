"""Near copies: the same picture, resized, mirrored, cropped, moved, framed, lighter, darker, gray, or saved again.

All images are compared by their views, which costs little, and the few that may be copies are aligned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from genrobust.core import cores
from genrobust.leaks.alignment import NEAR, Pairs, distances
from genrobust.leaks.thumbnails import chroma_of, luma_of
from genrobust.leaks.views import PAIRS, Views, best_pairs, candidates, describe
from genrobust.store import Advance, Arrays, KeptParts, no_progress

# Images that are aligned with each image: a copy may also resemble a few other images.
CANDIDATES = 3
# Cosine of two views from which two images may be copies. The views of moved photographs, which resemble their
# originals least, have 0.83 or more in 98 of 100.
_ALIKE = 0.8
# Images that one thread compares at once.
_PIECE = 256
# Images whose nearest images are kept together.
_BLOCK = 2048


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
    def of(cls, thumbnails: np.ndarray, pool: ThreadPoolExecutor) -> _Pictures:
        views = pool.map(lambda piece: describe(luma_of(piece)), _pieces(thumbnails))
        return cls(thumbnails, Views.join([*views]))


def find_near_copies(own: np.ndarray, others: np.ndarray, advance: Advance = no_progress) -> np.ndarray:
    """Return for each of N images the place of the image in `others` that it is a near copy of, -1 for none: int64 [N].

    Labels do not matter. A flat image is near nothing.

    Args:
        own, others: Thumbnails, uint8 [N, ROWS, SIDE] and [M, ROWS, SIDE].
        advance: Called with the number of images that are done.
    """
    found = [np.zeros(0, dtype=np.int64)]
    with _threads() as pool:
        pictures = _Pictures.of(others, pool)

        def find(piece: np.ndarray) -> np.ndarray:
            neighbors = _nearest(piece, pictures, bound=_ALIKE)
            return np.where(neighbors.distance < NEAR, neighbors.index, -1)

        for places in pool.map(find, _pieces(own)):
            found.append(places)
            advance(len(places))
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
        parts: Keep partial results until all is done. They must depend on both sets.
        advance: Called with the number of queries that are done.
    """
    with _threads() as pool:
        pictures = _Pictures.of(references, pool)

        def find(items: range) -> Arrays:
            pieces = _pieces(queries[items.start : items.stop])
            firsts = [items.start + start if itself else None for start in range(0, len(items), _PIECE)]
            found = [*pool.map(lambda piece, first: _nearest(piece, pictures, first=first), pieces, firsts)]
            advance(len(items))
            return {name: np.concatenate([getattr(part, name) for part in found]) for name in Neighbors.__slots__}

        return Neighbors(**(parts or KeptParts(None)).run(len(queries), _BLOCK, find, advance))


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """Open a thread for each core, in which torch uses one thread.

    The tensors here are small. Threads of torch that share one would mostly wait for each other, and without end if
    other programs need the cores.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(cores(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


def _pieces(thumbnails: np.ndarray) -> Sequence[np.ndarray]:
    return [thumbnails[start : start + _PIECE] for start in range(0, len(thumbnails), _PIECE)]


def _nearest(
    thumbnails: np.ndarray, others: _Pictures, bound: float | None = None, first: int | None = None
) -> Neighbors:
    """Find the nearest image of each own one, in one thread.

    Args:
        bound: Give up images that are less like an own one, and images that turn out to be no near copies: an own image
            that has no others has the distance 1.
        first: The place of the first own image in `others`, if they hold the own ones.
    """
    own = _Pictures(thumbnails, describe(luma_of(thumbnails)))
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
