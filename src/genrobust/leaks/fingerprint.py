"""Finding near duplicates: small pictures of images, and how much of two of them differs once they are aligned.

Two images are near where one looks like a copy of the other: encoded again, resized, mirrored, moved by a few percent
of the picture, or, on a plain background, moved further or drawn larger or smaller. Color counts: without it,
any two blots of one outline would be near. Candidates come from two descriptors (the whole picture, coarsely, and what
lies on the background, cut to its own extent), which are compared all with all; only the nearest few are aligned.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import scipy.fft
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from genrobust.core import Advance, Arrays, KeptParts, cores, no_progress

SIDE = 64  # pixels a side of a frame's luma: an icon's own size, and enough of a photograph to tell it from others
CHROMA = 16  # pixels a side of its two planes of chroma
ROWS = SIDE + 2 * CHROMA**2 // SIDE  # of a frame: those of the luma, and the two planes packed below them
REACH = 5  # pixels of a frame by which a copy may be moved: 8 % of the picture
CANDIDATES = 3  # of each descriptor, plain and mirrored: in 98 % or more of planted copies, the original is one
# Share of contrast by which two aligned pictures differ. Of planted copies (JPEG at quality 30, 0.6 and 2 times the
# size, mirrored, moved by 1/32 of the picture) of 250 icons and 95 pieces of photographs, 90 % or more of each kind
# differed by less, nearly all by a tenth of it. Unlike photographs differed by 0.07 or more in 19 of 20; icons of
# different hands that differ by less are one design.
NEAR = 0.05
_PADDED = 72  # SIDE + REACH and more, so that what leaves at one edge does not enter at the other; 72 = 8 x 9 is fast
_WHOLE, _CUT = 8, 16  # pixels a side of the descriptors
FAINT = 24.0  # of 255: contrast below it is paper, or what JPEG leaves round a line
_BLOCK = 4096  # images compared with as many others at once: 64 MiB of distances


@dataclass(frozen=True, slots=True)
class Neighbors:
    """The nearest other image of each of N, mirrored or not.

    `index` is int64 [N], `distance` float64 [N] (0 for a copy to 1 for nothing alike), `mirrored` bool [N].
    """

    index: np.ndarray
    distance: np.ndarray
    mirrored: np.ndarray


def frame(image: Image.Image) -> np.ndarray:
    """Shrink `image` to 4.5 KiB: uint8 [ROWS, SIDE].

    Luma [SIDE, SIDE] of the squashed picture and, packed below it, Cb and Cr at [CHROMA, CHROMA].
    """
    small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=3.0)
    luma, *chroma = small.convert("YCbCr").split()
    coarse = [np.asarray(plane.resize((CHROMA, CHROMA), Image.Resampling.BOX)) for plane in chroma]
    return np.concatenate([np.asarray(luma), np.stack(coarse).reshape(-1, SIDE)])


def planes(frame: np.ndarray) -> np.ndarray:
    """Return Y, Cb and Cr of a frame, chroma enlarged to the luma's size: float32 [3, SIDE, SIDE]."""
    chroma = frame[SIDE:].reshape(2, CHROMA, CHROMA).repeat(SIDE // CHROMA, axis=1).repeat(SIDE // CHROMA, axis=2)
    return np.concatenate([frame[None, :SIDE], chroma]).astype(np.float32)


def nearest(
    queries: np.ndarray,
    references: np.ndarray,
    *,
    itself: bool = False,
    parts: KeptParts | None = None,
    advance: Advance = no_progress,
) -> Neighbors:
    """Find the nearest of `references`, frames uint8 [M, ROWS, SIDE], to each of `queries`, likewise [N, ROWS, SIDE].

    With `itself` the two are one set, of two images or more, none of which is its own neighbor. A flat frame is near
    nothing: its distance to all is 1. `parts`, which depend on both, keep what was found meanwhile; `advance` is that
    of a bar over the queries.
    """
    described = _descriptors(references)
    with ThreadPoolExecutor(min(8, cores())) as pool:

        def find(items: range) -> Arrays:
            index, distance = np.empty(len(items), dtype=np.int64), np.empty(len(items))
            mirrored = np.empty(len(items), dtype=bool)
            block = queries[items.start : items.stop]
            candidates = _candidates(_descriptors(block), described, items.start if itself else None)
            distances = pool.map(lambda query, near: distances_with_mirror(query, references[near]), block, candidates)
            for row, (near, apart) in enumerate(zip(candidates, distances, strict=True)):
                advance(1)
                best = int(apart.min(axis=1).argmin())
                index[row], distance[row] = near[best], apart[best].min()
                mirrored[row] = apart[best, 1] < apart[best, 0]
            return {"index": index, "distance": distance, "mirrored": mirrored}

        return Neighbors(**(parts or KeptParts(None)).run(len(queries), _BLOCK, find, advance))


def _descriptors(frames: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """The coarse whole and the cut-out of each frame: float32 [N, _WHOLE²] and [N, _CUT²]."""
    step = SIDE // _WHOLE
    whole = frames[:, :SIDE].reshape(-1, _WHOLE, step, _WHOLE, step).mean(axis=(2, 4), dtype=np.float32)
    whole = (whole - whole.mean(axis=(1, 2), keepdims=True)).reshape(len(frames), -1)
    cut = np.stack([cut_out(f[None, :SIDE], _CUT) for f in frames]).reshape(len(frames), -1)
    return torch.from_numpy(whole), torch.from_numpy(cut)


def cut_out(picture: np.ndarray, side: int) -> np.ndarray:
    """Cut what differs from the border's color to its own extent: float32 [C, side, side], 0 on the background.

    `picture` is [C, SIDE, SIDE], luma first. The window lies round the center of the luma's contrast and reaches to
    twice its root mean square radius: unlike a bounding box, neither moves when a few pixels change.
    """
    border = np.concatenate([picture[:, 0], picture[:, -1], picture[:, :, 0], picture[:, :, -1]], axis=1)
    contrast = picture.astype(np.float32) - np.median(border, axis=1)[:, None, None]
    contrast[np.abs(contrast) < FAINT] = 0
    mass = np.abs(contrast[0])
    if not mass.any():
        return np.zeros((len(picture), side, side), dtype=np.float32)
    places = np.arange(SIDE) + 0.5
    y, x = np.average(places, weights=mass.sum(axis=1)), np.average(places, weights=mass.sum(axis=0))
    spread = np.average((places - y) ** 2, weights=mass.sum(axis=1))
    spread += np.average((places - x) ** 2, weights=mass.sum(axis=0))
    half = max(2 * float(np.sqrt(spread)), 2.0)
    pad = int(half) + 2
    box = (x - half + pad, y - half + pad, x + half + pad, y + half + pad)
    canvases = [Image.fromarray(np.pad(plane, pad)) for plane in contrast]
    return np.stack([np.asarray(c.resize((side, side), Image.Resampling.BILINEAR, box=box)) for c in canvases])


def _candidates(
    queries: tuple[torch.Tensor, torch.Tensor],
    pool: tuple[torch.Tensor, torch.Tensor],
    first: int | None,
) -> list[np.ndarray]:
    """For each query the indices into `pool` that are worth aligning; `first` is the first query's own place in it."""

    def distances(query: torch.Tensor, references: torch.Tensor) -> Iterator[torch.Tensor]:
        for start in range(0, len(references), _BLOCK):
            apart = share_apart_or_mirrored(query, references[start : start + _BLOCK])
            if first is not None:
                own = torch.arange(first, first + len(query)) - start
                inside = (own >= 0) & (own < apart.shape[1])
                apart[inside.nonzero()[:, 0], own[inside]] = torch.inf
            yield apart

    indices = [nearest_places(distances(*pair), CANDIDATES) for pair in zip(queries, pool, strict=True)]
    return [np.unique(row[row >= 0]) for row in torch.cat(indices, dim=1).numpy()]


def nearest_places(distances: Iterable[torch.Tensor], count: int) -> torch.Tensor:
    """Return the columns of the `count` smallest of each row, int64 [N, count], -1 for infinite ones.

    Args:
        distances: Float [N, M], in blocks of columns.
    """
    best, places, first = [], [], 0
    for block in distances:
        smallest, of_block = block.topk(min(count, block.shape[1]), largest=False)
        best.append(smallest)
        places.append(of_block + first)
        first += block.shape[1]
    smallest, order = torch.cat(best, dim=1).topk(min(count, first), largest=False)
    return torch.where(smallest < torch.inf, torch.cat(places, dim=1).gather(1, order), -1)


def share_apart(queries: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """Return the share of squared contrast by which descriptors [N, D] and [M, D] differ, 1 for flat ones: [N, M]."""
    energy = (queries**2).sum(1)[:, None] + (references**2).sum(1)[None]
    return 1 - 2 * (queries @ references.T) / energy.clamp(min=1e-6)


def share_apart_or_mirrored(queries: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """Return the smaller `share_apart` of square pictures [N, D] and [M, D], as they are and mirrored: [N, M]."""
    side = math.isqrt(references.shape[1])
    mirrored = references.view(-1, side, side).flip(2).flatten(1)
    return torch.minimum(share_apart(queries, references), share_apart(queries, mirrored))


def distances_with_mirror(query: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return how far M frames `references` are from the frame `query`: float64 [M, 2], as they are and mirrored."""
    mine, others = planes(query), np.stack([planes(reference) for reference in references])
    cut, cuts = cut_out(mine, SIDE), np.stack([cut_out(picture, SIDE) for picture in others])
    # A little blurred, so that half a pixel, which the alignment does not try, costs little.
    soft = (gaussian_filter(p, 1.0, axes=(-2, -1), truncate=2.0) for p in (mine, others, cut, cuts))
    mine, others, cut, cuts = soft
    return np.minimum(
        [aligned_distance(mine, turned) for turned in (others, others[..., ::-1])],
        [aligned_distance(cut, turned) for turned in (cuts, cuts[..., ::-1])],
    ).T


def aligned_distance(picture: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the share of squared contrast by which `others` [M, C, SIDE, SIDE] differ from `picture` [C, SIDE, SIDE].

    It is over the overlap, moved by up to REACH pixels so that the first planes fit best: float64 [M], 0 for the same
    picture, 1 for unrelated ones, up to 2 for a negative.
    """
    spectra = _spectrum(others[:, 0]) * np.conj(_spectrum(picture[0]))
    correlation = scipy.fft.irfft2(spectra, s=(_PADDED, _PADDED))
    steps = np.arange(-REACH, REACH + 1)
    window = correlation[:, steps[:, None], steps[None]].reshape(len(others), -1)
    dy, dx = (steps[place] for place in np.unravel_index(window.argmax(axis=1), (len(steps), len(steps))))
    return np.array([_share_differing(picture, other, y, x) for other, y, x in zip(others, dy, dx, strict=True)])


def _spectrum(luma: np.ndarray) -> np.ndarray:
    centered = luma - luma.mean(axis=(-2, -1), keepdims=True)
    return scipy.fft.rfft2(centered, s=(_PADDED, _PADDED))


def _share_differing(fixed: np.ndarray, moved: np.ndarray, dy: int, dx: int) -> float:
    a = fixed[:, max(0, -dy) : SIDE - max(0, dy), max(0, -dx) : SIDE - max(0, dx)]
    b = moved[:, max(0, dy) : SIDE + min(0, dy), max(0, dx) : SIDE + min(0, dx)]
    a, b = (picture - picture.mean(axis=(1, 2), keepdims=True) for picture in (a, b))
    energy = float((a * a).sum() + (b * b).sum())
    return 1.0 if energy < 1e-3 else 1 - 2 * float((a * b).sum()) / energy
