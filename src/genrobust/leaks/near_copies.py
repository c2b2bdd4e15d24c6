"""Near copies of scored images among those that are learned from: fast enough for hundreds of thousands of images.

Each image is reduced to a thumbnail. All pairs of thumbnails are compared by the magnitudes of their Fourier
transforms, which bound from below how much of two pictures differs, however one is moved or mirrored; only the pairs
that may be near are read again and aligned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import avg_pool2d, grid_sample

from genrobust.core import Advance, ImageSet, UserError, cores, progress_bar
from genrobust.leaks.fingerprint import (
    FAINT,
    NEAR,
    distances_with_mirror,
    frame,
    nearest_places,
    share_apart,
    share_apart_or_mirrored,
)

SIDE, CHROMA = 32, 8  # pixels a side of a thumbnail's luma and of its two planes of chroma, which are packed below it
ROWS = SIDE + 2 * CHROMA**2 // SIDE
_PADDED = 36  # SIDE and room for what is moved
_LOW, _LOW_CHROMA = 8, 3  # frequencies that are kept, in cycles a picture: most of the power of pictures lies there
_BOUND = 0.055  # NEAR, and what reading at a reduced size changes
_LAYOUT = 8  # pixels a side of the descriptors that say where in the picture something lies
# Distances of layouts from which two images are not aligned, of whole pictures and of what lies on a plain background.
# The near copies that PACS holds without this limit, and copies that were moved by 2 of 64 pixels, lie below it.
_WHOLE_APART, _CUT_APART = 0.2, 0.1
_PLAIN = 0.75  # of a border that has one color: the picture has a background
_CANDIDATES = 3  # to be aligned, of each kind: an image that is a copy of one may resemble a few more
_BLOCK = 4096  # images compared with as many others at once: 64 MiB of distances
_ALIGNED = 32  # images that are aligned with one at once, since thousands may be copies of it: 10 MiB
_BATCH = 256  # images whose thumbnails or descriptors are made at once


def thumbnail(image: Image.Image) -> np.ndarray:
    """Shrink an RGB `image`: uint8 [ROWS, SIDE], luma, and packed below it Cb and Cr at [CHROMA, CHROMA]."""
    small = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0).convert("YCbCr")
    coarse = small.resize((CHROMA, CHROMA), Image.Resampling.BOX)
    planes = np.asarray(coarse)[..., 1:].transpose(2, 0, 1)
    return np.concatenate([np.asarray(small)[..., 0], planes.reshape(-1, SIDE)])


def thumbnails(images: ImageSet, advance: Advance) -> tuple[np.ndarray, list[int]]:
    """Read every image once, reduced where its file allows.

    Returns:
        uint8 [N, ROWS, SIDE], and the indices of images that cannot be read.
    """
    made = np.zeros((len(images), ROWS, SIDE), dtype=np.uint8)
    broken: list[int] = []

    def read(index: int) -> None:
        try:
            made[index] = thumbnail(images.reduced(index, SIDE))
        except UserError:
            broken.append(index)

    with ThreadPoolExecutor(cores()) as pool:
        for start in range(0, len(images), _BATCH):
            batch = range(start, min(start + _BATCH, len(images)))
            list(pool.map(read, batch))
            advance(len(batch))
    return made, sorted(broken)


def find_near_copies(
    images: ImageSet, own: np.ndarray, others: Sequence[ImageSet], theirs: Sequence[np.ndarray]
) -> np.ndarray:
    """Return for each image of `images` the place of the set in `others` that has a near copy of it, -1 for none.

    Labels do not matter. An image whose pixels are all of one color is near nothing.

    Args:
        own: The thumbnails of `images`, uint8 [N, ROWS, SIDE].
        theirs: Those of each of `others`.

    Returns:
        int64 [N].
    """
    copies = np.full(len(images), -1, dtype=np.int64)
    joined = np.concatenate(theirs)
    ends = np.cumsum([len(thumbnails) for thumbnails in theirs])
    with progress_bar(f"looking for copies in {images.name}", len(images)) as bar:
        described = [_describe(joined[start : start + _BLOCK]) for start in range(0, len(joined), _BLOCK)]
        for start in range(0, len(images), _BLOCK):
            candidates = _candidates(_describe(own[start : start + _BLOCK]), described)
            by_other: dict[int, list[int]] = defaultdict(list)
            for row, near in enumerate(candidates):
                for other in near:
                    by_other[other].append(start + row)
            _align(images, others, ends, by_other, copies)
            bar.advance(min(_BLOCK, len(images) - start))
    return copies


def _align(
    images: ImageSet, others: Sequence[ImageSet], ends: np.ndarray, by_other: dict[int, list[int]], copies: np.ndarray
) -> None:
    """Read candidates again, by the place of the image of `others` that each may copy; note in `copies` the near."""

    def look(other: int) -> tuple[int, list[int]]:
        number = int(np.searchsorted(ends, other, side="right"))
        of = others[number]
        original = frame(of.image(other - int(ends[number]) + len(of)))
        near: list[int] = []
        for start in range(0, len(by_other[other]), _ALIGNED):
            mine = by_other[other][start : start + _ALIGNED]
            apart = distances_with_mirror(original, np.stack([frame(images.image(i)) for i in mine])).min(axis=1)
            near += [i for i, distance in zip(mine, apart, strict=True) if distance < NEAR]
        return number, near

    with ThreadPoolExecutor(cores()) as pool:
        for number, near in pool.map(look, sorted(by_other)):
            for index in near:
                copies[index] = number if copies[index] < 0 else min(copies[index], number)


# Magnitudes and layout, of whole pictures and of what lies on their backgrounds.
_Described = list[tuple[torch.Tensor, torch.Tensor]]


def _describe(thumbnails: np.ndarray) -> _Described:
    """The descriptors of N thumbnails: float32 [N, D] and [N, _LAYOUT²] for each kind of picture."""
    parts = [_describe_batch(thumbnails[start : start + _BATCH]) for start in range(0, len(thumbnails), _BATCH)]
    kinds = [zip(*kind, strict=True) for kind in zip(*parts, strict=True)]
    return [(torch.cat(magnitudes), torch.cat(layouts)) for magnitudes, layouts in kinds]


def _describe_batch(thumbnails: np.ndarray) -> _Described:
    luma = torch.from_numpy(thumbnails[:, None, :SIDE].astype(np.float32))
    chroma = torch.from_numpy(thumbnails[:, SIDE:].reshape(-1, 2, CHROMA, CHROMA).astype(np.float32))
    chroma = chroma.repeat_interleave(SIDE // CHROMA, 2).repeat_interleave(SIDE // CHROMA, 3)
    whole = torch.cat([luma, chroma], 1)
    described = [(_magnitudes(whole), _layout(whole))]
    cut = [torch.zeros_like(descriptors) for descriptors in described[0]]
    if (plain := _has_background(whole)).any():  # photographs have none
        pictures = _cut_out(whole[plain])
        cut[0][plain], cut[1][plain] = _magnitudes(pictures), _layout(pictures)
    return [*described, (cut[0], cut[1])]


def _has_background(pictures: torch.Tensor) -> torch.Tensor:
    """Whether most of the border of each picture has one brightness: bool [N]."""
    luma = pictures[:, 0]
    border = torch.cat([luma[:, 0], luma[:, -1], luma[:, :, 0], luma[:, :, -1]], -1)
    return ((border - border.median(-1, keepdim=True).values).abs() < FAINT).float().mean(1) >= _PLAIN


def _layout(pictures: torch.Tensor) -> torch.Tensor:
    """The luma at a few pixels a side, without its mean."""
    small = avg_pool2d(pictures[:, :1], SIDE // _LAYOUT).flatten(1)
    return small - small.mean(1, keepdim=True)


def _magnitudes(pictures: torch.Tensor) -> torch.Tensor:
    """The magnitudes of the Fourier transform of each plane, float32 [N, D], by which one picture differs from another.

    With E the energies and v these vectors, the share of contrast that differs is 1 - 2 <v, w> / (E_v + E_w) or more
    wherever one picture is moved to, since only phases change. Mirrored, the magnitudes at (x, y) and (-x, y) change
    places: the larger stands first. The last number of a plane is what all other frequencies have together.
    """
    centered = pictures - pictures.mean((-2, -1), keepdim=True)
    spectrum = torch.fft.rfft2(centered, s=(_PADDED, _PADDED)).abs() / _PADDED
    energy = centered.square().sum((-2, -1))
    parts: list[torch.Tensor] = []
    for plane, low in enumerate((_LOW, _LOW_CHROMA, _LOW_CHROMA)):
        # rfft2 keeps x >= 0; the conjugates at (-x, -y) have the same magnitude, so that each x > 0 counts twice
        rows = torch.arange(1, low + 1)
        up, down = spectrum[:, plane, rows, : low + 1], spectrum[:, plane, -rows, : low + 1]
        axis = spectrum[:, plane, 0, : low + 1]
        twice = torch.full((low + 1,), 2**0.5)
        twice[0] = 1.0
        sides = torch.maximum(up, down) * twice, torch.minimum(up, down) * twice, axis * twice
        kept = torch.cat([side.flatten(1) for side in sides], 1)
        rest = (energy[:, plane] - kept.square().sum(1)).clamp(min=0).sqrt()
        parts += [kept, rest[:, None]]
    return torch.cat(parts, 1)


def _cut_out(pictures: torch.Tensor) -> torch.Tensor:
    """Cut what lies on a plain background to its own extent, as `cut_out` does."""
    border = torch.cat([pictures[..., 0, :], pictures[..., -1, :], pictures[..., 0], pictures[..., -1]], -1)
    contrast = pictures - border.median(-1).values[..., None, None]
    contrast = torch.where(contrast.abs() < FAINT, 0.0, contrast)
    mass = contrast[:, 0].abs()
    total = mass.sum((1, 2)).clamp(min=1e-6)
    at = torch.arange(SIDE) + 0.5
    columns, rows = mass.sum(1), mass.sum(2)
    x, y = (columns @ at) / total, (rows @ at) / total
    spread = (columns * (at - x[:, None]) ** 2 + rows * (at - y[:, None]) ** 2).sum(1) / total
    half = (2 * spread.sqrt()).clamp(min=1.0)
    steps = ((torch.arange(SIDE) + 0.5) / SIDE * 2 - 1) * half[:, None]
    grid = torch.stack(
        [
            ((x[:, None] + steps) / SIDE * 2 - 1)[:, None].expand(-1, SIDE, -1),
            ((y[:, None] + steps) / SIDE * 2 - 1)[:, :, None].expand(-1, -1, SIDE),
        ],
        -1,
    )
    return grid_sample(contrast, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _candidates(own: _Described, blocks: Sequence[_Described]) -> list[list[int]]:
    """For each image the places of the images in `blocks` that are worth aligning with it."""

    def distances(kind: int, limit: float) -> Iterator[torch.Tensor]:
        magnitudes, layouts = own[kind]
        for block in blocks:
            others, their_layouts = block[kind]
            apart = share_apart_or_mirrored(layouts, their_layouts)
            apart[(apart >= limit) | (share_apart(magnitudes, others) >= _BOUND)] = torch.inf
            yield apart

    limits = (_WHOLE_APART, _CUT_APART) if own[1][1].any() else (_WHOLE_APART,)  # photographs have no background
    chosen = [nearest_places(distances(kind, limit), _CANDIDATES) for kind, limit in enumerate(limits)]
    return [sorted({place for place in row if place >= 0}) for row in torch.cat(chosen, 1).tolist()]
