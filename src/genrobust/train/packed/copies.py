"""Packed copies in a folder: files of a thousand images in several sizes each, and an index beside each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from genrobust.core import (
    GenrobustError,
    ImageSet,
    check_hash,
    digest,
    load_arrays,
    lock,
    make_folder,
    progress_bar,
    reading,
    remove_leftovers,
    replacing,
    save_arrays,
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
INDEX = ".npz"  # beside it, with the _COLUMNS of each level of each of its images, and its SHA-256
_COLUMNS = ("level", "offset", "length", "width", "height")  # bytes, and pixels


class PackedImages:
    """The images of an ImageSet, packed in a folder."""

    def __init__(self, images: ImageSet, folder: Path, pool: Executor) -> None:
        """Pack those of `images` that are missing in `folder`, in the threads of `pool`; a killed packing resumes.

        Raises:
            UserError: An image cannot be read.
            GenrobustError: The disk is full, or a packed file has been changed.
        """
        self._folder = _folder_of(images, folder)
        make_folder(self._folder)
        with lock(self._folder, wait=True):  # each machine packs its own
            remove_leftovers(self._folder)
            if missing := _missing(images, self._folder):
                done = len(images) - sum(map(len, missing))
                with progress_bar(f"packing {images.name}", len(images), "packed images", done) as bar:
                    for shard in missing:
                        self._write(images, shard, pool)
                        bar.advance(len(shard))
        files = [_file(self._folder, shard.start) for shard in _shards(images)]
        indices = {file: _read_index(file.with_suffix(INDEX)) for file in files}
        self._where = np.concatenate([np.empty((0, len(_COLUMNS)), np.int64), *(rows for rows, _ in indices.values())])
        # Not by a method, which would keep these images until a full collection of garbage.
        self._bytes = lru_cache(MAPPED)(partial(_mapped, {file: sha256 for file, (_, sha256) in indices.items()}))
        self._starts = np.append(np.flatnonzero(self._where[:, 0] == 0), len(self._where))

    def levels(self, index: int) -> list[tuple[int, int]]:
        """Return the widths and heights of image `index` in pixels: its own size first, then smaller ones."""
        return [(width, height) for _, _, _, width, height in self._rows(index)]

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

        _, offset, length, width, height = self._rows(index)[level]
        file = _file(self._folder, index)
        try:
            jpeg, left, top = tiles_under(box, self._bytes(file)[offset : offset + length], width, height)
            pixels = decode_jpeg(torch.frombuffer(jpeg, dtype=torch.uint8), ImageReadMode.RGB)
        except OSError as error:
            raise GenrobustError(f"cannot read {file}: {error.strerror}") from error
        except (ValueError, IndexError, RuntimeError) as error:
            raise GenrobustError(f"cannot read a packed image in {file}: {error}{_remedy(file)}") from error
        x, y = box[0] - left, box[1] - top
        return pixels[:, y : y + box[3] - box[1], x : x + box[2] - box[0]]

    def _rows(self, index: int) -> list[list[int]]:
        """The `_COLUMNS` of each level of an image."""
        rows: list[list[int]] = self._where[self._starts[index] : self._starts[index + 1]].tolist()
        return rows

    def _write(self, images: ImageSet, shard: range, pool: Executor) -> None:
        rows, offset, path, hashed = [], 0, _file(self._folder, shard.start), hashlib.sha256()
        with replacing(path, mirrored=False) as file:
            for levels in pool.map(lambda i: _packed(images.image(i)), shard):
                for level, (data, (width, height)) in enumerate(levels):
                    file.write(data)
                    hashed.update(data)
                    rows.append((level, offset, len(data), width, height))
                    offset += len(data)
        arrays = {"rows": np.array(rows, np.int64), "sha256": np.array(hashed.hexdigest())}
        save_arrays(path.with_suffix(INDEX), arrays, mirrored=False)  # last: with it, a shard is complete


def check_packed(index: Path) -> None:
    """Compare the packed images beside the file `index` with the hash in that; a process reads them once.

    Raises:
        GenrobustError: The file `index` or the images are damaged.
    """
    path = index.with_suffix(IMAGES)
    _check({path: _read_index(index)[1]}, path)


def _mapped(hashes: Mapping[Path, str], path: Path) -> memoryview:
    """The bytes of a shard's file, which are compared with their hash once in a process, at their first use."""
    _check(hashes, path)
    return np.memmap(path, np.uint8, "r").data


def _check(hashes: Mapping[Path, str], path: Path) -> None:
    with reading(path, ValueError, then=_remedy(path), kind=GenrobustError):
        check_hash(path, hashes[path])


def _read_index(index: Path) -> tuple[np.ndarray, str]:
    """The `_COLUMNS` of each level of the images beside the file `index`, and the SHA-256 of their file."""
    with (
        reading(index, ValueError, KeyError, then=_remedy(index), kind=GenrobustError),
        load_arrays(index) as arrays,
    ):
        return arrays["rows"], str(arrays["sha256"])


def _remedy(path: Path) -> str:
    return f": delete {path.parent} and rerun, and it is made again"


def to_pack(images: ImageSet, folder: Path) -> int:
    """Return how many of `images` have no packed copy in `folder` yet."""
    return sum(map(len, _missing(images, _folder_of(images, folder))))


def _folder_of(images: ImageSet, folder: Path) -> Path:
    return folder / digest([images.fingerprint, PACKING])


def _file(folder: Path, index: int) -> Path:
    """The file of the shard that image `index` is in."""
    return folder / f"{index // SHARD:06d}{IMAGES}"


def _shards(images: ImageSet) -> list[range]:
    return [range(first, min(first + SHARD, len(images))) for first in range(0, len(images), SHARD)]


def _missing(images: ImageSet, folder: Path) -> list[range]:
    return [shard for shard in _shards(images) if not _file(folder, shard.start).with_suffix(INDEX).exists()]


def chosen(drawn: RandomCrop, levels: Sequence[tuple[int, int]], size: int) -> tuple[int, Box]:
    """Return which of the `levels` (widths and heights) a crop to `size` pixels is read from, and its box there."""
    for level in range(len(levels) - 1, 0, -1):
        left, top, right, bottom = box = drawn.box(*levels[level])
        if min(right - left, bottom - top) >= size:
            return level, box
    return 0, drawn.box(*levels[0])


def _packed(image: Image.Image) -> list[tuple[bytes, tuple[int, int]]]:
    """The levels of `image`, its own size first: a JPEG of whole tiles, and how many pixels of it are the image's."""
    levels, scale = [(encoded(image), image.size)], STEP
    while min(size := (round(image.width * scale), round(image.height * scale))) >= SMALLEST:
        levels.append((encoded(image.resize(size, Image.Resampling.BICUBIC)), size))
        scale *= STEP
    return levels
