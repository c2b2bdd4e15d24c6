"""Mixes image sets into one stream of batches, in which batch s is a pure function of (seed, s)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from genrobust.classifiers import prepare
from genrobust.core import ImageSet, UserError, digest
from genrobust.train.crops import RESIZING, RandomCrop, draw_crops
from genrobust.train.packed import PACKING, PackedImages, to_pack

if TYPE_CHECKING:  # torch takes seconds, and what a mixture holds is known without it
    from torch import Tensor

CACHE_BYTES = 2 << 30  # prepared pixels kept in memory: 170,000 images of 64 px
READERS = 32  # threads that decode images, at most one a processor
CROPS_A_TASK = 8  # that a thread cuts before it looks for more: handing out a task takes a tenth of the time of a crop


@dataclass(frozen=True, slots=True)
class Source:
    """One source of a mixture: `images`, and how much of it.

    `per_class` takes the first so many of each class, `fraction` the first share of each class (at least one image), in
    the set's own order. `weight` is its share of every batch relative to the other parts'; None, for all parts or none,
    means in proportion to the number of images.
    """

    name: str
    images: ImageSet
    weight: float | None = None
    per_class: int | None = None
    fraction: float | None = None


@dataclass(frozen=True, slots=True)
class _Stream:
    """Images that are shuffled together: positions [start, start + size) of the mixture, `share` of each batch."""

    start: int
    size: int
    share: int


class Mixture:
    """The training images of one arm, indexed as one list, and the batches that are drawn from it.

    `labels` is int64 [N]; `counts` maps the name of one of `parts` to its number of images. Random crops are read from
    packed copies of the images in the folder `packed` (see `PackedImages`), made by `pack` or when the first batch is
    asked for, or from the images themselves where it is None. Raises UserError for a part without images, for weights
    on some parts alone, and for a weight too small to have a place in a batch.
    """

    def __init__(
        self,
        parts: Sequence[Source],
        batch_size: int,
        image_size: int,
        crop: str = "square",
        packed: Path | None = None,
    ) -> None:
        if not parts:
            raise UserError("a mixture needs one part or more")
        self.batch_size = batch_size
        self.image_size = image_size
        self.parts = tuple(parts)
        self._chosen = [_taken(part) for part in parts]
        self.counts = {part.name: len(chosen) for part, chosen in zip(parts, self._chosen, strict=True)}
        self.labels = np.concatenate([p.images.labels[c] for p, c in zip(parts, self._chosen, strict=True)])
        self._part_of = np.repeat(np.arange(len(parts)), list(self.counts.values()))
        self._index_in = np.concatenate(self._chosen)
        self._streams = _streams(parts, list(self.counts.values()), batch_size)
        self._crops = crop == "random-resized"
        self._packing = packed if self._crops else None
        self.fingerprint = self._digest()
        self._permutation = lru_cache(maxsize=2 * len(self._streams))(self._shuffle)
        self._pool = ThreadPoolExecutor(min(READERS, os.cpu_count() or 1))
        fits = len(self) * image_size * image_size * 3 <= CACHE_BYTES and not self._crops
        self._pixels = np.empty((len(self), image_size, image_size, 3), np.uint8) if fits else None
        self._ready = np.zeros(len(self), dtype=bool)

    def __len__(self) -> int:
        return len(self._index_in)

    def _digest(self) -> str:
        """Of all that batches depend on beside the seed: the images, and how random crops are made of them."""
        images = [[p.images.fingerprint, c.tolist(), p.weight] for p, c in zip(self.parts, self._chosen, strict=True)]
        if not self._crops:
            return digest(images)
        return digest([images, RESIZING] if self._packing is None else [images, RESIZING, PACKING])

    def indices(self, seed: int, step: int) -> np.ndarray:
        """Which images batch `step` holds: int64 [batch_size]. Every image of a stream comes once before any again."""
        drawn = []
        for number, stream in enumerate(self._streams):
            first = step * stream.share
            epochs, places = np.divmod(np.arange(first, first + stream.share), stream.size)
            for epoch in np.unique(epochs):
                drawn.append(stream.start + self._permutation(seed, number, int(epoch))[places[epochs == epoch]])
        return np.concatenate(drawn)

    def unpacked(self) -> dict[str, int]:
        """How many images of each part have no packed copy yet; empty where crops are read from the images."""
        if self._packing is None:
            return {}
        return {part.name: to_pack(part.images, self._packing) for part in self.parts}

    def pack(self, name: str) -> None:
        """Make the packed copies of the images of the part `name` that are not there yet."""
        assert self._packing is not None  # else nothing is unpacked
        for part in self.parts:
            if part.name == name:
                PackedImages(part.images, self._packing, self._pool)

    def rows(self, name: str) -> Tensor:
        """Which rows of every batch hold images of the part `name`: bool [batch_size].

        Raises UserError where the parts have no weights: then it differs from batch to batch.
        """
        if any(part.weight is None for part in self.parts):
            raise UserError(f"batches hold no fixed number of images of {name}: give each part of the mixture a weight")
        import torch

        part_of = np.repeat([part.name for part in self.parts], [stream.share for stream in self._streams])
        return torch.from_numpy(part_of == name)

    def batch(self, seed: int, step: int, size: int | None = None, rows: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Batch `step`: images uint8 [B, 3, S, S] and labels int64 [B]; of random crops, S is `size` where it is given.

        Of its images `rows` alone are read, where B is their number; each is what it is in the whole batch.
        Squares are not augmented: an image is decoded at its first use and kept, where all of them fit into memory (2
        GiB). Random resized crops are cut and mirrored already, from images that are decoded at every use.
        """
        import torch

        whole = self.indices(seed, step)
        indices = whole[rows]
        labels = torch.from_numpy(self.labels[indices])
        if self._crops:
            return self._cut(indices, draw_crops(seed, step, len(whole))[rows], size or self.image_size), labels
        if self._pixels is None:
            pixels = np.stack(list(self._pool.map(self._decode, indices)))
        else:
            missing = np.unique(indices[~self._ready[indices]])
            for index, image in zip(missing, self._pool.map(self._decode, missing), strict=True):
                self._pixels[index] = image
            self._ready[missing] = True
            pixels = self._pixels[indices]
        return torch.from_numpy(pixels).permute(0, 3, 1, 2), labels

    def _cut(self, indices: np.ndarray, crops: Sequence[RandomCrop], size: int) -> Tensor:
        import torch

        cut = np.empty((len(indices), size, size, 3), np.uint8)
        packed = self._packed

        def fill(places: range) -> None:
            for place in places:
                crop, index = crops[place], indices[place]
                if packed is None:
                    cut[place] = crop.of(self._image(index), size)
                else:
                    images, inside = packed[self._part_of[index]], int(self._index_in[index])
                    cut[place] = crop.finish(images.crop(inside, crop, size), size)

        several = range(0, len(indices), CROPS_A_TASK)
        list(self._pool.map(fill, (range(i, min(i + CROPS_A_TASK, len(indices))) for i in several)))
        return torch.from_numpy(cut).permute(0, 3, 1, 2)

    @cached_property
    def _packed(self) -> list[PackedImages] | None:
        """The packed images of each part, which are made now where they are not there yet."""
        if self._packing is None:
            return None
        return [PackedImages(part.images, self._packing, self._pool) for part in self.parts]

    def _decode(self, index: int) -> np.ndarray:
        return prepare(self._image(index), self.image_size)

    def _image(self, index: int) -> Image.Image:
        images = self.parts[self._part_of[index]].images
        return images.image(int(self._index_in[index]))

    def _shuffle(self, seed: int, stream: int, epoch: int) -> np.ndarray:
        return np.random.default_rng([seed, stream, epoch]).permutation(self._streams[stream].size)


def prefix(labels: np.ndarray, per_class: int | None, fraction: float | None) -> np.ndarray:
    """Which of the images with these labels, int64 [N], a part takes (see `Source`): int64, ascending."""
    if per_class is None and fraction is None:
        return np.arange(len(labels))
    kept = []
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        take = len(of_class) if fraction is None else max(1, round(fraction * len(of_class)))
        kept.append(of_class[: take if per_class is None else min(take, per_class)])
    return np.sort(np.concatenate(kept))


def _taken(part: Source) -> np.ndarray:
    labels = np.asarray(part.images.labels)
    if len(labels) == 0:
        raise UserError(f"the part {part.name} of the mixture has no images")
    return prefix(labels, part.per_class, part.fraction)


def _streams(parts: Sequence[Source], sizes: Sequence[int], batch_size: int) -> list[_Stream]:
    weights = [part.weight for part in parts]
    if all(w is None for w in weights):
        return [_Stream(0, sum(sizes), batch_size)]
    given = [w for w in weights if w is not None]
    if len(given) < len(parts):
        without = next(p.name for p in parts if p.weight is None)
        raise UserError(f"the part {without} of the mixture has no weight, but others have: weigh every part, or none")
    quotas = np.array(given) / sum(given) * batch_size
    shares = np.floor(quotas).astype(int)  # largest remainder, ties to the earlier part
    shares[np.argsort(-(quotas - shares), kind="stable")[: batch_size - shares.sum()]] += 1
    if (shares == 0).any():
        name = parts[int(np.argmin(shares))].name
        raise UserError(f"the weight of {name} is too small for one place in a batch of {batch_size}: raise it")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return [_Stream(int(a), n, int(s)) for a, n, s in zip(starts, sizes, shares, strict=True)]
