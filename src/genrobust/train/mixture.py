"""Mixes image sets into one stream of batches, in which batch s is a pure function of (seed, s)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from genrobust.classifiers import BICUBIC, prepare
from genrobust.core import ImageSet, Subset, UserError, digest, prefix, reading_pool
from genrobust.train.crops import RESIZING, RandomCrop, draw_crops
from genrobust.train.packed import PACKING, PackedImages, to_pack

if TYPE_CHECKING:  # torch takes seconds, and what a mixture holds is known without it
    from torch import Tensor

CACHE_BYTES = 2 << 30  # prepared pixels kept in memory: 170,000 images of 64 px
CROPS_A_TASK = 8  # that a thread cuts before it looks for more: handing out a task takes a tenth of the time of a crop


@dataclass(frozen=True, slots=True)
class Source:
    """One source of a mixture: `images`, and how many of them.

    `per_class` takes the first so many of each class, `fraction` the first share of each class (see `prefix`). `weight`
    is its share of every batch relative to the other sources'; None, for all of them or none, means in proportion to
    the number of images.
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
    """The training images of one arm, indexed as one list, and the batches drawn from it.

    Attributes:
        labels: int64 [N].
        counts: The number of images of each source, by its name.
        fingerprint: A hash of all that batches depend on beside the seed.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        batch_size: int,
        image_size: int,
        crop: str = "square",
        packed: Path | None = None,
        interpolation: str = BICUBIC,
    ) -> None:
        """A mixture of `sources`; reads no image.

        Args:
            crop: As in a recipe: "square" or "random-resized".
            packed: The folder of packed copies that random crops are read from (see `PackedImages`); they are made by
                `pack`, or for the first batch. None reads the images themselves.
            interpolation: That of resizing: "bicubic" or "bilinear".

        Raises:
            UserError: A source has no images, some sources alone have weights, or a weight is too small for a batch.
        """
        if not sources:
            raise UserError("a mixture needs one source or more")
        self.batch_size, self.image_size, self.sources = batch_size, image_size, tuple(sources)
        self.interpolation = interpolation
        for source in sources:
            if len(source.images) == 0:
                raise UserError(f"the source {source.name} of the mixture has no images")
        self._chosen = [prefix(s.images, s.per_class, s.fraction) for s in sources]
        self.counts = {source.name: len(chosen) for source, chosen in zip(sources, self._chosen, strict=True)}
        sizes = list(self.counts.values())
        self.labels = np.concatenate([s.images.labels[c] for s, c in zip(sources, self._chosen, strict=True)])
        self._source_of = np.repeat(np.arange(len(sources)), sizes)
        self._index_in = np.concatenate(self._chosen)
        self._streams = _make_streams(sources, sizes, batch_size)
        self._crops = crop == "random-resized"
        self._packing = packed if self._crops else None
        images = [[s.images.fingerprint, c.tolist(), s.weight] for s, c in zip(sources, self._chosen, strict=True)]
        settings = [PACKING] if self._packing is not None else []
        settings += [interpolation] if interpolation != BICUBIC else []
        self.fingerprint = digest([images, RESIZING, *settings] if self._crops else [*images, *settings])
        self._permutation = lru_cache(maxsize=2 * len(self._streams))(partial(_draw_permutation, self._streams))
        self._pool = reading_pool()
        fits = len(self) * image_size * image_size * 3 <= CACHE_BYTES and not self._crops
        self._pixels = np.empty((len(self), image_size, image_size, 3), np.uint8) if fits else None
        self._ready = np.zeros(len(self), dtype=bool)

    def __len__(self) -> int:
        return len(self._index_in)

    def indices(self, seed: int, step: int) -> np.ndarray:
        """Return which images batch `step` holds, int64 [B]; each of a stream comes once before any comes again."""
        drawn = []
        for number, stream in enumerate(self._streams):
            first = step * stream.share
            epochs, positions = np.divmod(np.arange(first, first + stream.share), stream.size)
            for epoch in np.unique(epochs):
                drawn.append(stream.start + self._permutation(seed, number, int(epoch))[positions[epochs == epoch]])
        return np.concatenate(drawn)

    def unpacked(self) -> dict[str, int]:
        """Return how many images of each source have no packed copy yet; empty where no packed copies are read."""
        if self._packing is None:
            return {}
        return {source.name: to_pack(source.images, self._packing) for source in self.sources}

    def pack(self, name: str) -> None:
        """Make the missing packed copies of the source `name`."""
        assert self._packing is not None  # else nothing is unpacked
        for source in self.sources:
            if source.name == name:
                PackedImages(source.images, self._packing, self._pool)

    def shares(self) -> list[tuple[ImageSet, float]]:
        """Return the images of each source, and how much each of them weighs: its mean chance to be in a batch."""
        subsets = [Subset(s.images, c) for s, c in zip(self.sources, self._chosen, strict=True)]
        weights = [
            len(subset) if s.weight is None else s.weight for s, subset in zip(self.sources, subsets, strict=True)
        ]
        return [(subset, weight / sum(weights) / len(subset)) for subset, weight in zip(subsets, weights, strict=True)]

    def rows(self, name: str) -> Tensor:
        """Return which rows of every batch hold images of the source `name`, bool [B].

        Raises:
            UserError: The sources have no weights: then it differs from batch to batch.
        """
        if any(source.weight is None for source in self.sources):
            raise UserError(f"batches hold no fixed number of images of {name}: weigh each source of the mixture")
        import torch

        names = np.repeat([source.name for source in self.sources], [stream.share for stream in self._streams])
        return torch.from_numpy(names == name)

    def batch(self, seed: int, step: int, size: int | None = None, rows: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return batch `step`, a pure function of `seed` and `step`.

        Squares are decoded at their first use and kept, where all of them fit into 2 GiB. Random resized crops are cut
        and mirrored, from images that are decoded at every use.

        Args:
            size: The side of random resized crops in pixels; None means the mixture's.
            rows: The rows of the batch to read, [B]; each is what it is in the whole batch.

        Returns:
            Images uint8 [B, 3, S, S] and labels int64 [B].
        """
        import torch

        batch_indices = self.indices(seed, step)
        indices = batch_indices[rows]
        labels = torch.from_numpy(self.labels[indices])
        if self._crops:
            pixels = self._read_crops(
                indices, draw_crops(seed, step, len(batch_indices))[rows], size or self.image_size
            )
        elif self._pixels is None:
            pixels = np.stack(list(self._pool.map(self._decode, indices)))
        else:
            missing = np.unique(indices[~self._ready[indices]])
            for index, image in zip(missing, self._pool.map(self._decode, missing), strict=True):
                self._pixels[index] = image
            self._ready[missing] = True
            pixels = self._pixels[indices]
        return torch.from_numpy(pixels).permute(0, 3, 1, 2), labels

    def _read_crops(self, indices: np.ndarray, crops: Sequence[RandomCrop], size: int) -> np.ndarray:
        pixels = np.empty((len(indices), size, size, 3), np.uint8)
        packed = self._packed

        def fill(positions: range) -> None:
            for position in positions:
                crop, index = crops[position], indices[position]
                if packed is None:
                    pixels[position] = crop.of(self._image(index), size, self.interpolation)
                else:
                    images, source_index = packed[self._source_of[index]], int(self._index_in[index])
                    pixels[position] = crop.finish(images.crop(source_index, crop, size), size, self.interpolation)

        starts = range(0, len(indices), CROPS_A_TASK)
        list(self._pool.map(fill, (range(i, min(i + CROPS_A_TASK, len(indices))) for i in starts)))
        return pixels

    @cached_property
    def _packed(self) -> list[PackedImages] | None:
        """The packed images of each source, made now where they are missing."""
        if self._packing is None:
            return None
        return [PackedImages(source.images, self._packing, self._pool) for source in self.sources]

    def _decode(self, index: int) -> np.ndarray:
        return prepare(self._image(index), self.image_size, interpolation=self.interpolation)

    def _image(self, index: int) -> Image.Image:
        return self.sources[self._source_of[index]].images.image(int(self._index_in[index]))


# No method: a cache of that would keep the pixels of a mixture until a full collection of garbage.
def _draw_permutation(streams: Sequence[_Stream], seed: int, stream: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, stream, epoch]).permutation(streams[stream].size)


def _make_streams(sources: Sequence[Source], sizes: Sequence[int], batch_size: int) -> list[_Stream]:
    weights = [source.weight for source in sources if source.weight is not None]
    if not weights:
        return [_Stream(0, sum(sizes), batch_size)]
    if without := [source.name for source in sources if source.weight is None]:
        raise UserError(f"the source {without[0]} of the mixture has no weight, but others have: weigh all, or none")
    quotas = np.array(weights) / sum(weights) * batch_size
    shares = np.floor(quotas).astype(int)  # largest remainder, ties to the earlier source
    shares[np.argsort(-(quotas - shares), kind="stable")[: batch_size - shares.sum()]] += 1
    if (shares == 0).any():
        name = sources[int(np.argmin(shares))].name
        raise UserError(f"the weight of {name} is too small for one place in a batch of {batch_size}: raise it")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return [_Stream(int(a), n, int(s)) for a, n, s in zip(starts, sizes, shares, strict=True)]
