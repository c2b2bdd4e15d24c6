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
from genrobust.train.packed import PACKING, PackedImages

if TYPE_CHECKING:  # torch takes seconds, and what a mixture holds is known without it
    from torch import Tensor

CACHE_BYTES = 2 << 30  # prepared pixels kept in memory: 170,000 images of 64 px
WHOLE_BYTES = 1 << 30  # images to cut crops from, 5,000 of 227 px: a worker then stays near the 2 GB counted for one
PIXEL_BYTES = 4  # of an image of Pillow
CROPS_A_TASK = 8  # that a thread cuts before it looks for more: handing out a task takes a tenth of the time of a crop


@dataclass(frozen=True, slots=True)
class Source:
    """One source of a mixture: `images`, and how many of them.

    `per_class` takes the first so many of each class, `fraction` the first share of each class (see `prefix`). `weight`
    is its share of every batch relative to the other sources'; None, for all of them or none, means in proportion to
    the number of images. `balance` is as in a recipe.
    """

    name: str
    images: ImageSet
    weight: float | None = None
    per_class: int | None = None
    fraction: float | None = None
    balance: tuple[str, ...] = ()


Cells = tuple[np.ndarray, ...]  # images that are shuffled together, int64 places in the mixture: each kind by itself


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
            UserError: A source has no images, or a weight is too small for a batch.
        """
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
        self._streams = self._make_streams()
        self._shares = _shares_of_batch(sources, batch_size)
        self._crops = crop == "random-resized"
        self._packing = packed if self._crops else None
        images = [
            [source.images.fingerprint, chosen.tolist(), source.weight, *self._balance(number)]
            for number, (source, chosen) in enumerate(zip(sources, self._chosen, strict=True))
        ]
        settings = [PACKING] if self._packing is not None else []
        settings += [interpolation] if interpolation != BICUBIC else []
        self.fingerprint = digest([images, RESIZING, *settings] if self._crops else [*images, *settings])
        orders = sum(len(cells) + 1 for cells in self._streams)
        self._permutation = lru_cache(maxsize=2 * orders)(partial(_draw_permutation, self._streams))
        self._pool = reading_pool()
        fits = len(self) * image_size * image_size * 3 <= CACHE_BYTES and not self._crops
        self._pixels = np.empty((len(self), image_size, image_size, 3), np.uint8) if fits else None
        self._ready = np.zeros(len(self), dtype=bool)
        self._whole: dict[int, Image.Image] | None = {} if self._crops else None
        self._whole_bytes = 0

    def __len__(self) -> int:
        return len(self._index_in)

    def indices(self, seed: int, step: int) -> np.ndarray:
        """Return which images batch `step` holds, int64 [B]; each of a stream comes once before any comes again.

        Of a balanced source, each kind of image comes once before any comes again, and so do the images of a kind.
        """
        drawn = [
            self._draw(seed, number, np.arange(step * share, (step + 1) * share))
            for number, share in enumerate(self._shares)
        ]
        return np.concatenate(drawn)

    def _draw(self, seed: int, number: int, positions: np.ndarray) -> np.ndarray:
        """Return the images of a stream at `positions` of it: in each turn, one of each cell in a new order."""
        cells, permutation = self._streams[number], partial(self._permutation, seed, number)
        turns, chosen = np.divmod(positions, len(cells))
        if len(cells) > 1:
            orders = [permutation(int(turn), len(cells))[chosen[turns == turn]] for turn in np.unique(turns)]
            chosen = np.concatenate(orders)
        epochs, places = np.divmod(turns, np.array([len(cell) for cell in cells])[chosen])
        kinds = epochs * len(cells) + chosen  # the images of a kind are drawn by one order
        drawn = np.empty_like(positions)
        for kind in np.unique(kinds).tolist():
            of_kind, (epoch, cell) = kinds == kind, divmod(kind, len(cells))
            drawn[of_kind] = cells[cell][permutation(epoch, cell)[places[of_kind]]]
        return drawn

    def pack(self) -> None:
        """Make the missing packed copies now, if any are read."""
        _ = self._packed

    @property
    def decoders(self) -> frozenset[str]:
        """The names of the modules that read and decode the images."""
        return frozenset[str]().union(*(source.images.decoders for source in self.sources))

    @property
    def parts(self) -> list[Subset]:
        """The images of each source."""
        return [Subset(s.images, chosen) for s, chosen in zip(self.sources, self._chosen, strict=True)]

    @property
    def image_weights(self) -> np.ndarray:
        """How often each image is drawn, as a share of all draws, float64 [N].

        By `weight` and `balance` as they are set: batches round the shares of sources to whole images.
        """
        weights = np.empty(len(self))
        of_streams = np.array([source.weight or 1 for source in self.sources[: len(self._streams)]])
        for share, cells in zip(of_streams / of_streams.sum(), self._streams, strict=True):
            for cell in cells:
                weights[cell] = share / len(cells) / len(cell)
        return weights

    def batch(self, seed: int, step: int, size: int | None = None, rows: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return batch `step`, a pure function of `seed` and `step`.

        Images are decoded at their first use and kept, where all of them fit: as squares into 2 GiB, or for random
        resized crops, which are cut and mirrored anew, in their own size into 1 GiB. Others are decoded at every use.

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
                    pixels[position] = crop.of(self._whole_image(int(index)), size, self.interpolation)
                else:
                    images, source_index = packed[self._source_of[index]], int(self._index_in[index])
                    pixels[position] = crop.finish(images.crop(source_index, crop, size), size, self.interpolation)

        starts = range(0, len(indices), CROPS_A_TASK)
        list(self._pool.map(fill, (range(i, min(i + CROPS_A_TASK, len(indices))) for i in starts)))
        return pixels

    def _make_streams(self) -> list[Cells]:
        """Return a stream for each source, or one for all where they have no weights."""
        ends = np.cumsum(list(self.counts.values()))
        if len(self.sources) > 1 and self.sources[0].weight is None:
            return [(np.arange(ends[-1]),)]
        return [self._make_cells(number, end) for number, end in enumerate(ends)]

    def _make_cells(self, number: int, end: int) -> Cells:
        source, chosen = self.sources[number], self._chosen[number]
        columns = {"class": source.images.labels, "style": source.images.styles}
        kinds = np.zeros(len(chosen), dtype=np.int64)
        for key in source.balance:
            values, numbers = np.unique(np.asarray(columns[key])[chosen], return_inverse=True)
            kinds = kinds * len(values) + numbers
        order = np.argsort(kinds, kind="stable")
        places = end - len(chosen) + order
        return tuple(np.split(places, np.flatnonzero(np.diff(kinds[order])) + 1))

    def _balance(self, number: int) -> list[list[list[int]]]:
        """Return the kinds of images of a balanced source, as one item; none of others."""
        return [[cell.tolist() for cell in self._streams[number]]] if self.sources[number].balance else []

    @cached_property
    def _packed(self) -> list[PackedImages] | None:
        """The packed images of each source, made now where they are missing."""
        if self._packing is None:
            return None
        return [PackedImages(source.images, self._packing, self._pool) for source in self.sources]

    def _decode(self, index: int) -> np.ndarray:
        return prepare(self._image(index), self.image_size, interpolation=self.interpolation)

    def _whole_image(self, index: int) -> Image.Image:
        """An image to cut a crop from; none are kept any more when those that were seen no longer fit."""
        kept = self._whole
        if kept is None or (image := kept.get(index)) is None:
            image = self._image(index)
            if kept is not None:
                kept[index] = image
                self._whole_bytes += PIXEL_BYTES * image.width * image.height
                if self._whole_bytes > WHOLE_BYTES:
                    self._whole = None
        return image

    def _image(self, index: int) -> Image.Image:
        return self.sources[self._source_of[index]].images.image(int(self._index_in[index]))


# No method: a cache of that would keep the pixels of a mixture until a full collection of garbage.
def _draw_permutation(streams: Sequence[Cells], seed: int, stream: int, epoch: int, cell: int) -> np.ndarray:
    """Return an order of the images of a cell; that of the cells themselves for the number after the last."""
    cells = streams[stream]
    size = len(cells[cell]) if cell < len(cells) else cell
    return np.random.default_rng([seed, stream, epoch, *([cell] if cell else [])]).permutation(size)


def _shares_of_batch(sources: Sequence[Source], batch_size: int) -> tuple[int, ...]:
    """Return how many images of each stream a batch holds."""
    weights = [source.weight for source in sources if source.weight is not None]
    if not weights:
        return (batch_size,)
    quotas = np.array(weights) / sum(weights) * batch_size
    shares = np.floor(quotas).astype(int)  # largest remainder, ties to the earlier source
    shares[np.argsort(-(quotas - shares), kind="stable")[: batch_size - shares.sum()]] += 1
    if not shares.all():
        name = sources[int(np.argmin(shares))].name
        raise UserError(f"the weight of {name} is too small for one place in a batch of {batch_size}: raise it")
    return tuple(map(int, shares))
