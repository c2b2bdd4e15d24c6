"""Packed copies in a folder: files of a thousand images in several sizes each, and an index beside each."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from genrobust.core import (
    Artifact,
    GenrobustError,
    ImageSet,
    Manifest,
    artifact_folder,
    lock,
    made_by,
    make_folder,
    progress_bar,
    remove_leftovers,
    replacing,
)
from genrobust.train.crops import RandomCrop
from genrobust.train.packed.tiles import BLOCK, QUALITY, TILE, Box, encoded, tiles_under

if TYPE_CHECKING:
    from torch import Tensor

STEP = 0.75  # of the width: smaller steps cost room, larger ones pixels; 0.7 to 0.8 decode about as many
SMALLEST = 224  # pixels of the shorter side: of smaller levels, few crops are large enough for a training
SHARD = 1000  # images a file
MAPPED = 128  # files at once, each of which takes one of the 1,024 that a process may often have open
# What the pixels depend on.
PACKING = f"JPEG {QUALITY}, tiles of {TILE * BLOCK} x {BLOCK}, levels of {STEP} down to {SMALLEST}"

IMAGES = ".jpegs"  # the file of a shard
INDEX = ".npz"  # beside it, with the _COLUMNS of each level of each of its images
_COLUMNS = ("level", "offset", "length", "width", "height")  # bytes, and pixels


class PackedImages:
    """The images of an ImageSet, packed in a folder."""

    def __init__(self, images: ImageSet, folder: Path, pool: Executor) -> None:
        """Pack those of `images` that are missing in `folder`, in the threads of `pool`; a killed packing resumes.

        Raises:
            UserError: An image cannot be read.
            GenrobustError: The disk is full, or a packed file has been changed.
        """
        packed = self._packed = _artifact_of(images, folder)
        make_folder(packed.folder)
        with lock(packed.folder, wait=True):  # each machine packs its own
            manifest = packed.begin(_manifest_of(images))
            remove_leftovers(packed.folder)
            if missing := _missing_shards(images, packed):
                done = len(images) - sum(map(len, missing.values()))
                with progress_bar(f"packing {images.name}", len(images), "packed images", done) as bar:
                    for part, shard in missing.items():
                        self._write_shard(images, part, shard, pool)
                        bar.advance(len(shard))
            if not packed.is_finished:
                packed.publish(manifest, (), _shards(images))
        indices = [_read_index(packed, part) for part in _shards(images)]
        self._index = np.concatenate([np.empty((0, len(_COLUMNS)), np.int64), *indices])
        # Not by a method, which would keep these images until a full collection of garbage.
        self._bytes = lru_cache(MAPPED)(lambda part: np.memmap(packed.path(part + IMAGES, part), np.uint8, "r").data)
        self._starts = np.append(np.flatnonzero(self._index[:, 0] == 0), len(self._index))

    def levels(self, index: int) -> list[tuple[int, int]]:
        """Return the widths and heights of image `index` in pixels: its own size first, then smaller ones."""
        return [(width, height) for _, _, _, width, height in self._level_rows(index)]

    def crop(self, index: int, drawn: RandomCrop, size: int) -> Tensor:
        """Return what `drawn` cuts of image `index`, to be resized to `size` pixels: uint8 [3, H, W], channels last.

        It is cut from the smallest level where it has `size` pixels or more each way, or from the image's own size.
        """
        level, box = chosen(drawn, self.levels(index), size)
        return self.pixels(index, level, box)

    def pixels(self, index: int, level: int, box: Box) -> Tensor:
        """Return the pixels in `box` of a level of image `index`: uint8 [3, H, W], channels last in memory."""
        import torch
        from torchvision.io import ImageReadMode, decode_jpeg

        _, offset, length, width, height = self._level_rows(index)[level]
        part = _shard_name(index)
        try:
            jpeg, left, top = tiles_under(box, self._bytes(part)[offset : offset + length], width, height)
            pixels = decode_jpeg(torch.frombuffer(jpeg, dtype=torch.uint8), ImageReadMode.RGB)
        except (ValueError, IndexError, RuntimeError) as error:
            file = self._packed.folder / (part + IMAGES)
            raise GenrobustError(f"cannot read a packed image in {file}: {error}: {self._packed.remedy}") from error
        x, y = box[0] - left, box[1] - top
        return pixels[:, y : y + box[3] - box[1], x : x + box[2] - box[0]]

    def _level_rows(self, index: int) -> list[list[int]]:
        """The `_COLUMNS` of each level of an image."""
        rows: list[list[int]] = self._index[self._starts[index] : self._starts[index + 1]].tolist()
        return rows

    def _write_shard(self, images: ImageSet, part: str, shard: range, pool: Executor) -> None:
        rows, offset, folder = [], 0, self._packed.folder
        with replacing(folder / (part + IMAGES)) as file:
            for levels in pool.map(lambda i: _encode_levels(images.image(i)), shard):
                for level, (data, (width, height)) in enumerate(levels):
                    file.write(data)
                    rows.append((level, offset, len(data), width, height))
                    offset += len(data)
        with replacing(folder / (part + INDEX)) as file:
            np.savez(file, allow_pickle=False, rows=np.array(rows, np.int64))
        self._packed.finish_part(part, [part + IMAGES, part + INDEX], {"images": len(shard)})


def _read_index(packed: Artifact, part: str) -> np.ndarray:
    """The `_COLUMNS` of each level of the images of a shard."""
    with np.load(packed.path(part + INDEX, part), allow_pickle=False) as arrays:
        rows: np.ndarray = arrays["rows"]
        return rows


def to_pack(images: ImageSet, folder: Path) -> int:
    """Return how many of `images` have no packed copy in `folder` yet."""
    return sum(map(len, _missing_shards(images, _artifact_of(images, folder)).values()))


def _manifest_of(images: ImageSet) -> Manifest:
    inputs = {"images": images.fingerprint, "packing": PACKING}
    return Manifest("packed", inputs, made_by=made_by(PackedImages, *images.decoders))


def _artifact_of(images: ImageSet, folder: Path) -> Artifact:
    return Artifact(artifact_folder(folder, images.name, _manifest_of(images).inputs), mirrored=False)


def _shard_name(index: int) -> str:
    """The name of the shard that image `index` is in."""
    return f"{index // SHARD:06d}"


def _shards(images: ImageSet) -> dict[str, range]:
    """The images in each shard, by its name."""
    starts = range(0, len(images), SHARD)
    return {_shard_name(start): range(start, min(start + SHARD, len(images))) for start in starts}


def _missing_shards(images: ImageSet, packed: Artifact) -> dict[str, range]:
    if packed.is_finished:
        return {}
    return {part: shard for part, shard in _shards(images).items() if packed.part(part) is None}


def chosen(drawn: RandomCrop, levels: Sequence[tuple[int, int]], size: int) -> tuple[int, Box]:
    """Return which of the `levels` (widths and heights) a crop to `size` pixels is read from, and its box there."""
    for level in range(len(levels) - 1, 0, -1):
        left, top, right, bottom = box = drawn.box(*levels[level])
        if min(right - left, bottom - top) >= size:
            return level, box
    return 0, drawn.box(*levels[0])


def _encode_levels(image: Image.Image) -> list[tuple[bytes, tuple[int, int]]]:
    """The levels of `image`, its own size first: a JPEG of whole tiles, and how many pixels of it are the image's."""
    levels, scale = [(encoded(image), image.size)], STEP
    while min(size := (round(image.width * scale), round(image.height * scale))) >= SMALLEST:
        levels.append((encoded(image.resize(size, Image.Resampling.BICUBIC)), size))
        scale *= STEP
    return levels
