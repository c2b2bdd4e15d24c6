"""Reads the pixels of a batch by several threads: whole images as squares, or a random crop of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from genrobust.classifiers import prepare
from genrobust.core import reading_pool
from genrobust.train.mixed_images import MixedImages
from genrobust.train.packed import PackedImages
from genrobust.train.random_crops import RandomCrop

# Squares kept in memory: 170,000 images of 64 px.
CACHE_BYTES = 2 << 30
# Whole images kept for random crops: 5,000 of 227 px. A process then stays near the 2 GB that are planned for it.
WHOLE_BYTES = 1 << 30
PIXEL_BYTES = 4  # of a Pillow image
# Crops that a thread cuts in one task: handing out a task takes a tenth of the time of a crop.
CROPS_A_TASK = 8


class SquareReader:
    """Reads images as squares of `size` pixels. Decodes each once if all squares fit into CACHE_BYTES."""

    def __init__(self, images: MixedImages, size: int, interpolation: str) -> None:
        self._images, self._size, self._interpolation = images, size, interpolation
        self._pool = reading_pool()
        shape = (len(images), size, size, 3)
        self._cache: np.ndarray | None = None
        if math.prod(shape) <= CACHE_BYTES:
            self._cache = np.empty(shape, np.uint8)
        self._is_cached = np.zeros(len(images), dtype=bool)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Return the images at `indices`, int64 [B], as uint8 [B, S, S, 3]."""
        if self._cache is None:
            return np.stack(list(self._pool.map(self._decode, indices)))
        missing = np.unique(indices[~self._is_cached[indices]])
        for index, square in zip(missing, self._pool.map(self._decode, missing), strict=True):
            self._cache[index] = square
        self._is_cached[missing] = True
        return self._cache[indices]

    def _decode(self, index: int) -> np.ndarray:
        return prepare(self._images.image(index), self._size, interpolation=self._interpolation)


class CropReader:
    """Reads random crops, from packed copies in a folder or from the images themselves.

    Keeps whole images in memory until WHOLE_BYTES are full; then it decodes every image at every use.
    """

    def __init__(self, images: MixedImages, interpolation: str, packed_folder: Path | None) -> None:
        self._images, self._interpolation, self._packed_folder = images, interpolation, packed_folder
        self._pool = reading_pool()
        self._packed: list[PackedImages] = []
        self._whole: dict[int, Image.Image] = {}
        self._whole_bytes = 0

    def pack(self) -> None:
        """Make missing packed copies and open them, unless they are open or crops are read from the images."""
        if self._packed_folder is None or self._packed:
            return
        for source in self._images.sources:
            self._packed.append(PackedImages(source.images, self._packed_folder, self._pool))

    def read(self, indices: np.ndarray, crops: Sequence[RandomCrop], size: int) -> np.ndarray:
        """Return a crop of each image at `indices`, int64 [B], as uint8 [B, size, size, 3]."""
        self.pack()
        pixels = np.empty((len(indices), size, size, 3), np.uint8)

        def fill(positions: range) -> None:
            for position in positions:
                pixels[position] = self._cut(int(indices[position]), crops[position], size)

        tasks = []
        for start in range(0, len(indices), CROPS_A_TASK):
            tasks.append(range(start, min(start + CROPS_A_TASK, len(indices))))
        list(self._pool.map(fill, tasks))
        return pixels

    def _cut(self, index: int, crop: RandomCrop, size: int) -> np.ndarray:
        """Return one crop, uint8 [size, size, 3]."""
        if not self._packed:
            return crop.cut(self._whole_image(index), size, self._interpolation)
        packed = self._packed[self._images.source_of[index]]
        cut = packed.crop(int(self._images.index_in[index]), crop, size)
        return crop.resize(cut, size, self._interpolation)

    def _whole_image(self, index: int) -> Image.Image:
        kept = self._whole.get(index)
        if kept is not None:
            return kept
        image = self._images.image(index)
        if self._whole_bytes <= WHOLE_BYTES:
            self._whole[index] = image
            self._whole_bytes += PIXEL_BYTES * image.width * image.height
            if self._whole_bytes > WHOLE_BYTES:
                # Some images would be kept and others decoded each time. Free the memory instead.
                self._whole.clear()
        return image
