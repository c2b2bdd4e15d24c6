"""Mixes image sets into one stream of batches, in which batch s is a pure function of (seed, s).

`mixed_images.py` lists the images, `streams.py` decides which of them a batch holds, `batch_pixels.py` reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genrobust.classifiers import BICUBIC
from genrobust.core import Subset, UserError, digest
from genrobust.train.batch_pixels import CropReader, SquareReader
from genrobust.train.mixed_images import MixedImages, Source
from genrobust.train.packed import PACKING
from genrobust.train.random_crops import RESIZING, draw_crops
from genrobust.train.streams import Stream

if TYPE_CHECKING:  # Listing a mixture must not load torch, which takes seconds.
    from torch import Tensor

RANDOM_RESIZED = "random-resized"


class Mixture:
    """The training images of one arm as one list, and the batches drawn from it.

    Attributes:
        labels: int64 [N].
        counts: Number of images by source name.
        fingerprint: Hash of everything that batches depend on, excluding the seed.
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
        """Choose the images of each source. Reads no image.

        Args:
            image_size: Side of the images of a batch in pixels.
            crop: "square" resizes whole images, "random-resized" cuts a random crop at every use.
            packed: Folder of packed copies for random crops (see `PackedImages`). None reads the original images.
            interpolation: "bicubic" or "bilinear", for resizing.

        Raises:
            UserError: A source has no images, or a weight is too small for a batch.
        """
        images = MixedImages(sources)
        self.batch_size = batch_size
        self.image_size = image_size
        self.interpolation = interpolation
        self.sources = images.sources
        self.counts = images.counts()
        self.labels = images.labels()
        self._images = images
        self._streams = _make_streams(images)
        self._shares = _shares_of_batch(sources, batch_size)
        self._squares: SquareReader | None = None
        self._crops: CropReader | None = None
        if crop == RANDOM_RESIZED:
            self._crops = CropReader(images, interpolation, packed)
        else:
            self._squares = SquareReader(images, image_size, interpolation)
        self.fingerprint = self._hash_inputs(is_packed=packed is not None)

    def __len__(self) -> int:
        return len(self._images)

    @property
    def decoders(self) -> frozenset[str]:
        """The names of the modules that read and decode the images."""
        decoders: set[str] = set()
        for source in self.sources:
            decoders |= source.images.decoders
        return frozenset(decoders)

    @property
    def parts(self) -> list[Subset]:
        """The images of each source."""
        pairs = zip(self.sources, self._images.chosen, strict=True)
        return [Subset(source.images, chosen) for source, chosen in pairs]

    def indices(self, seed: int, step: int) -> np.ndarray:
        """Return which images batch `step` holds, int64 [B].

        Each image of a stream comes once before any comes again. In a balanced source, this holds for the kinds of
        images, and for the images of each kind.
        """
        drawn = []
        for stream, share in zip(self._streams, self._shares, strict=True):
            positions = np.arange(step * share, (step + 1) * share)
            drawn.append(stream.draw(seed, positions))
        return np.concatenate(drawn)

    def image_weights(self) -> np.ndarray:
        """Compute how often each image is drawn, as a share of all draws, float64 [N].

        Uses `weight` and `balance` as given; batches round the share of each source to whole images.
        """
        weights = np.empty(len(self))
        source_weights = np.array([source.weight or 1 for source in self.sources[: len(self._streams)]])
        stream_shares = source_weights / source_weights.sum()
        for stream_share, stream in zip(stream_shares, self._streams, strict=True):
            for cell in stream.cells:
                weights[cell] = stream_share / len(stream.cells) / len(cell)
        return weights

    def batch(self, seed: int, step: int, size: int | None = None) -> tuple[Tensor, Tensor]:
        """Read batch `step`, a pure function of `seed` and `step`.

        Args:
            size: Side of random crops in pixels; by default the mixture's `image_size`.

        Returns:
            Images uint8 [B, 3, S, S], channels last in memory, and labels int64 [B].
        """
        import torch

        indices = self.indices(seed, step)
        if self._crops is not None:
            crops = draw_crops(seed, step, len(indices))
            pixels = self._crops.read(indices, crops, size or self.image_size)
        else:
            assert self._squares is not None
            pixels = self._squares.read(indices)
        labels = torch.from_numpy(self.labels[indices])
        # [B, S, S, 3] -> [B, 3, S, S] without a copy.
        return torch.from_numpy(pixels).permute(0, 3, 1, 2), labels

    def pack(self) -> None:
        """Make missing packed copies now, if crops are read from them."""
        if self._crops is not None:
            self._crops.pack()

    def _hash_inputs(self, is_packed: bool) -> str:
        images: list[Any] = []
        for number, source in enumerate(self.sources):
            row = [source.images.fingerprint, self._images.chosen[number].tolist(), source.weight]
            if source.balance:
                row.append([cell.tolist() for cell in self._streams[number].cells])
            images.append(row)
        settings = []
        if self._crops is not None and is_packed:
            settings.append(PACKING)
        if self.interpolation != BICUBIC:
            settings.append(self.interpolation)
        if self._crops is not None:
            return digest([images, RESIZING, *settings])
        return digest([*images, *settings])


def _make_streams(images: MixedImages) -> list[Stream]:
    """Make one stream for each weighted source, or a single stream of all images."""
    if len(images.sources) > 1 and images.sources[0].weight is None:
        return [Stream(0, [np.arange(len(images))])]
    streams = []
    first = 0
    for number, (source, chosen) in enumerate(zip(images.sources, images.chosen, strict=True)):
        cells = [first + cell for cell in _cells_of(source, chosen)]
        streams.append(Stream(number, cells))
        first += len(chosen)
    return streams


def _cells_of(source: Source, chosen: np.ndarray) -> list[np.ndarray]:
    """Group the positions of `chosen` by the columns in `source.balance`: a single group for none."""
    columns = {"class": source.images.labels, "style": source.images.styles}
    kinds = np.zeros(len(chosen), dtype=np.int64)
    for key in source.balance:
        values, numbers = np.unique(np.asarray(columns[key])[chosen], return_inverse=True)
        kinds = kinds * len(values) + numbers
    order = np.argsort(kinds, kind="stable")
    borders = np.flatnonzero(np.diff(kinds[order])) + 1
    return np.split(order, borders)


def _shares_of_batch(sources: Sequence[Source], batch_size: int) -> tuple[int, ...]:
    """Divide a batch among the streams in proportion to their weights: whole images, by the largest remainder."""
    weights = [source.weight for source in sources if source.weight is not None]
    if not weights:
        return (batch_size,)
    quotas = np.array(weights) / sum(weights) * batch_size
    shares = np.floor(quotas).astype(int)
    missing = batch_size - shares.sum()
    # A stable sort: of equal remainders, the earlier source gets the image.
    by_remainder = np.argsort(-(quotas - shares), kind="stable")
    shares[by_remainder[:missing]] += 1
    if not shares.all():
        name = sources[int(np.argmin(shares))].name
        raise UserError(f"the weight of {name} is too small for one image in a batch of {batch_size}: raise it")
    return tuple(int(share) for share in shares)
