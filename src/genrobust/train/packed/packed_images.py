"""Packed copies in a folder: files of a thousand images in several sizes each, and an index file for each."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from genrobust.core import GenrobustError, ImageSet, progress_bar
from genrobust.store import Artifact, Manifest, artifact_folder, lock, made_by, make_folder, remove_leftovers, replacing
from genrobust.train.packed.jpeg_tiles import BLOCK, QUALITY, TILE, Box, encode, tiles_under
from genrobust.train.random_crops import RandomCrop

if TYPE_CHECKING:
    from torch import Tensor

# Width of a level relative to the level before. Smaller steps cost disk space, larger ones decode more pixels; from 0.7
# to 0.8 the number of decoded pixels is about the same.
STEP = 0.75
SMALLEST = 224  # pixels of the shorter side of a level: few crops of smaller ones are large enough for training
SHARD = 1000  # images in a file
# Files that are open at a time. Each takes one of the 1,024 that a process may often open.
MAPPED = 128
# Everything that the pixels depend on: part of the fingerprint of a mixture.
PACKING = f"JPEG {QUALITY}, tiles of {TILE * BLOCK} x {BLOCK}, levels of {STEP} down to {SMALLEST}"

IMAGES = ".jpegs"  # suffix of the file of a shard
INDEX = ".npz"  # suffix of its index, which has a row for each level of each image
COLUMNS = ("level", "offset", "length", "width", "height")  # offset and length in bytes, sizes in pixels


class PackedImages:
    """The images of an ImageSet, packed in a folder."""

    def __init__(self, images: ImageSet, folder: Path, pool: Executor) -> None:
        """Pack the images that are missing in `folder`, in the threads of `pool`. A killed packing resumes.

        Raises:
            UserError: An image cannot be read.
            GenrobustError: The disk is full, or a packed file has been changed.
        """
        self._packed = _artifact_of(images, folder)
        self._pack_missing(images, pool)
        rows = [np.empty((0, len(COLUMNS)), np.int64)]
        for name in _shards(images):
            rows.append(_read_index(self._packed, name))
        self._rows = np.concatenate(rows)  # [levels of all images, COLUMNS]
        # Rows of image i are those from _starts[i] to _starts[i + 1]: each image begins with level 0.
        self._starts = np.append(np.flatnonzero(self._rows[:, 0] == 0), len(self._rows))

        packed = self._packed

        # No method: a cache of methods would keep the object until garbage collection.
        @lru_cache(MAPPED)
        def map_file(name: str) -> memoryview:
            return np.memmap(packed.path(name + IMAGES, name), np.uint8, "r").data

        self._map_file = map_file

    def levels(self, index: int) -> list[tuple[int, int]]:
        """Return the width and height in pixels of each level of image `index`: its original size first."""
        return [(width, height) for _, _, _, width, height in self._levels_of(index)]

    def crop(self, index: int, crop: RandomCrop, size: int) -> Tensor:
        """Return the pixels that `crop` cuts of image `index`: uint8 [3, H, W], channels last in memory.

        They come from the smallest level in which the crop has `size` pixels or more each way, or from the original
        size.
        """
        level, box = choose_level(crop, self.levels(index), size)
        return self.pixels(index, level, box)

    def pixels(self, index: int, level: int, box: Box) -> Tensor:
        """Return the pixels in `box` of a level of image `index`: uint8 [3, H, W], channels last in memory."""
        import torch
        from torchvision.io import ImageReadMode, decode_jpeg

        _, offset, length, width, height = self._levels_of(index)[level]
        name = _shard_of(index)
        try:
            packed = self._map_file(name)[offset : offset + length]
            jpeg, left, top = tiles_under(box, packed, width, height)
            pixels = decode_jpeg(torch.frombuffer(jpeg, dtype=torch.uint8), ImageReadMode.RGB)
        except (ValueError, IndexError, RuntimeError) as error:
            file = self._packed.folder / (name + IMAGES)
            raise GenrobustError(f"cannot read a packed image in {file}: {error}: {self._packed.remedy}") from error
        x, y = box[0] - left, box[1] - top
        width, height = box[2] - box[0], box[3] - box[1]
        return pixels[:, y : y + height, x : x + width]

    def _levels_of(self, index: int) -> list[list[int]]:
        """Return the `COLUMNS` of each level of an image."""
        rows: list[list[int]] = self._rows[self._starts[index] : self._starts[index + 1]].tolist()
        return rows

    def _pack_missing(self, images: ImageSet, pool: Executor) -> None:
        packed = self._packed
        make_folder(packed.folder)
        # Each machine packs its own copies; its processes wait for each other.
        with lock(packed.folder, wait=True):
            manifest = packed.begin(_manifest_of(images))
            remove_leftovers(packed.folder)
            missing = _missing_shards(images, packed)
            if missing:
                done = len(images) - sum(len(shard) for shard in missing.values())
                with progress_bar(f"packing {images.name}", len(images), "packed images", done) as bar:
                    for name, shard in missing.items():
                        self._write_shard(images, name, shard, pool)
                        bar.advance(len(shard))
            if not packed.is_finished:
                packed.publish(manifest, (), _shards(images))

    def _write_shard(self, images: ImageSet, name: str, shard: range, pool: Executor) -> None:
        """Write the images in `shard` and their index, and record both files as finished."""

        def encode_image(index: int) -> list[tuple[bytes, tuple[int, int]]]:
            return _encode_levels(images.image(index))

        folder = self._packed.folder
        rows = []
        offset = 0
        with replacing(folder / (name + IMAGES)) as file:
            for levels in pool.map(encode_image, shard):
                for level, (data, (width, height)) in enumerate(levels):
                    file.write(data)
                    rows.append((level, offset, len(data), width, height))
                    offset += len(data)
        with replacing(folder / (name + INDEX)) as file:
            np.savez(file, allow_pickle=False, rows=np.array(rows, np.int64))
        self._packed.finish_part(name, [name + IMAGES, name + INDEX], {"images": len(shard)})


def to_pack(images: ImageSet, folder: Path) -> int:
    """Return how many of `images` have no packed copy in `folder` yet."""
    missing = _missing_shards(images, _artifact_of(images, folder))
    return sum(len(shard) for shard in missing.values())


def _read_index(packed: Artifact, name: str) -> np.ndarray:
    """Return the `COLUMNS` of each level of the images of a shard, int64 [levels, 5]."""
    with np.load(packed.path(name + INDEX, name), allow_pickle=False) as arrays:
        rows: np.ndarray = arrays["rows"]
        return rows


def _manifest_of(images: ImageSet) -> Manifest:
    inputs = {"images": images.fingerprint, "packing": PACKING}
    return Manifest("packed", inputs, made_by=made_by(PackedImages, *images.decoders))


def _artifact_of(images: ImageSet, folder: Path) -> Artifact:
    return Artifact(artifact_folder(folder, images.name, _manifest_of(images).inputs), mirrored=False)


def _shard_of(index: int) -> str:
    return f"{index // SHARD:06d}"


def _shards(images: ImageSet) -> dict[str, range]:
    shards = {}
    for start in range(0, len(images), SHARD):
        shards[_shard_of(start)] = range(start, min(start + SHARD, len(images)))
    return shards


def _missing_shards(images: ImageSet, packed: Artifact) -> dict[str, range]:
    return {name: shard for name, shard in _shards(images).items() if packed.part(name) is None}


def choose_level(crop: RandomCrop, levels: Sequence[tuple[int, int]], size: int) -> tuple[int, Box]:
    """Return the level (of widths and heights) that a crop to `size` pixels is read from, and the box there."""
    for level in range(len(levels) - 1, 0, -1):
        box = crop.box(*levels[level])
        left, top, right, bottom = box
        if min(right - left, bottom - top) >= size:
            return level, box
    return 0, crop.box(*levels[0])


def _encode_levels(image: Image.Image) -> list[tuple[bytes, tuple[int, int]]]:
    """Encode each level of `image`, original size first: the bytes, and its width and height without padding."""
    levels = [(encode(image), image.size)]
    scale = STEP
    while True:
        size = (round(image.width * scale), round(image.height * scale))
        if min(size) < SMALLEST:
            return levels
        levels.append((encode(image.resize(size, Image.Resampling.BICUBIC)), size))
        scale *= STEP
