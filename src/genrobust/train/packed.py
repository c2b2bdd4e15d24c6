"""Copies of images from which a crop is decoded without the rest: JPEGs whose tiles can be read one by one.

A JPEG is one stream of Huffman codes, so that a crop at its bottom costs the decoding of nearly all. With a restart
marker after every `TILE` blocks the decoder can begin anywhere: the bytes of the tiles under a crop, behind a header of
their size, are a JPEG of their own, which any decoder reads to the same pixels as the whole. (A decoder of regions such
as libjpeg-turbo's has to read all codes before the crop, and comes in no Python package that needs no compiler.)

Beside the image in its own size lie smaller ones, each `STEP` as wide as the one before: a large crop, which is to be
shrunk in any case, is read from the smallest in which no pixel of it has to be invented.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from genrobust.core import (
    GenrobustError,
    ImageSet,
    digest,
    lock,
    make_folder,
    progress_bar,
    remove_leftovers,
    replacing,
)
from genrobust.train.crops import RandomCrop

if TYPE_CHECKING:
    from torch import Tensor

QUALITY = 90  # FFCV's default; crops then have a PSNR of 37 dB or more against those of the original photograph
BLOCK = 16  # pixels, of either side, that are coded together: their colours are stored at half the resolution
TILE = 2  # blocks between restart markers: fewer cost bytes (1 % at 4), more cost pixels decoded beside a crop
MARGIN = 2  # pixels beside a crop that its colours are interpolated from
STEP = 0.75  # of the width: smaller steps cost room, larger ones pixels; 0.7 to 0.8 decode about as many
SMALLEST = 224  # pixels of the shorter side: of smaller levels, few crops are large enough for a training
SHARD = 1000  # images a file
MAPPED = 128  # files at once, each of which takes one of the 1,024 that a process may often have open
# What the pixels depend on.
PACKING = f"JPEG {QUALITY}, tiles of {TILE * BLOCK} x {BLOCK}, levels of {STEP} down to {SMALLEST}"

_START_OF_FRAME, _START_OF_SCAN, _END = b"\xff\xc0", b"\xff\xda", 0xD9
_RESTART = 0xD0  # and the seven after it, in turn
_LENGTH = np.dtype("<u2")  # of a tile: 512 pixels come to 3,072 bytes at the very most

_COLUMNS = ("level", "offset", "length", "width", "height")  # of the index: bytes, and pixels

Box = tuple[int, int, int, int]  # left, top, right and bottom, in pixels


class PackedImages:
    """The images of an ImageSet, packed in `folder` as far as they are not yet there; `pool` decodes and encodes them.

    A killed packing goes on where it was. Raises UserError, naming it, for an image that cannot be read, and
    GenrobustError where there is no room, or where a file has been changed since.
    """

    def __init__(self, images: ImageSet, folder: Path, pool: Executor) -> None:
        self._folder = _folder_of(images, folder)
        make_folder(self._folder)
        with lock(self._folder, wait=True, mirrored=False):  # each machine packs its own
            remove_leftovers(self._folder)
            missing = _missing_shards(images, self._folder)
            if missing:
                left = _count(images, missing)
                packing = progress_bar(f"packing {images.name}", len(images), "packed images", len(images) - left)
                with packing as bar:
                    for first in missing:
                        self._write(images, first, pool)
                        bar.advance(len(_numbers(images, first)))
        indices = [self._read_index(first) for first in range(0, len(images), SHARD)]
        self._where = np.concatenate([np.empty((0, len(_COLUMNS)), np.int64), *indices])
        self._bytes = lru_cache(MAPPED)(self._map)
        self._starts = np.append(np.flatnonzero(self._where[:, 0] == 0), len(self._where))

    def levels(self, index: int) -> list[tuple[int, int]]:
        """Width and height of image `index` in the sizes that there are of it, in pixels: its own first."""
        return [(width, height) for _, _, _, width, height in self._rows(index)]

    def crop(self, index: int, drawn: RandomCrop, size: int) -> Tensor:
        """What `drawn` cuts of image `index`, to be resized to `size` pixels: uint8 [3, H, W], channels last in memory.

        It is cut from the smallest level where it has `size` pixels or more each way, or from the image's own size.
        """
        level, box = chosen(drawn, self.levels(index), size)
        return self.pixels(index, level, box)

    def pixels(self, index: int, level: int, box: Box) -> Tensor:
        """The pixels in `box` of a level of image `index`: uint8 [3, H, W], the channels of a pixel side by side."""
        import torch
        from torchvision.io import ImageReadMode, decode_jpeg

        _, offset, length, width, height = self._rows(index)[level]
        first = index // SHARD * SHARD
        try:
            jpeg, left, top = tiles_under(box, self._bytes(first)[offset : offset + length], width, height)
            pixels = decode_jpeg(torch.frombuffer(jpeg, dtype=torch.uint8), ImageReadMode.RGB)
        except OSError as error:
            raise GenrobustError(f"cannot read {self._bytes_file(first)}: {error.strerror}") from error
        except (ValueError, IndexError, RuntimeError) as error:
            where = self._bytes_file(first)
            raise GenrobustError(f"cannot read a packed image in {where}: {error}: {self._remedy()}") from error
        x, y = box[0] - left, box[1] - top
        return pixels[:, y : y + box[3] - box[1], x : x + box[2] - box[0]]

    def _rows(self, index: int) -> list[list[int]]:
        """What the index says of each level of an image: `_COLUMNS`."""
        rows: list[list[int]] = self._where[self._starts[index] : self._starts[index + 1]].tolist()
        return rows

    def _map(self, first: int) -> memoryview:
        """A shard's file, of which the system reads what is looked at."""
        return np.memmap(self._bytes_file(first), np.uint8, "r").data

    def _bytes_file(self, first: int) -> Path:
        return self._folder / f"{first // SHARD:06d}.jpegs"

    def _index_file(self, first: int) -> Path:
        """`_COLUMNS` of each level of each image of a shard: written last, so a shard with it is whole."""
        return _index_file(self._folder, first)

    def _write(self, images: ImageSet, first: int, pool: Executor) -> None:
        rows, offset = [], 0
        with replacing(self._bytes_file(first), mirrored=False) as file:
            for levels in pool.map(lambda i: _packed(images.image(i)), _numbers(images, first)):
                for level, (data, (width, height)) in enumerate(levels):
                    file.write(data)
                    rows.append((level, offset, len(data), width, height))
                    offset += len(data)
        with replacing(self._index_file(first), mirrored=False) as file:
            np.save(file, np.array(rows, np.int64), allow_pickle=False)

    def _read_index(self, first: int) -> np.ndarray:
        try:
            rows = np.load(self._index_file(first), allow_pickle=False)
            whole = self._bytes_file(first).stat().st_size == rows[-1, 1:3].sum()
        except (OSError, ValueError, IndexError) as error:
            raise GenrobustError(f"cannot read {self._index_file(first)}: {error}: {self._remedy()}") from error
        if not whole:
            raise GenrobustError(f"{self._bytes_file(first)} has not the size that it was written in: {self._remedy()}")
        return rows

    def _remedy(self) -> str:
        return f"delete {self._folder} and run again, and it is made anew"


def to_pack(images: ImageSet, folder: Path) -> int:
    """How many of `images` have no packed copy in `folder` yet."""
    return _count(images, _missing_shards(images, _folder_of(images, folder)))


def _folder_of(images: ImageSet, folder: Path) -> Path:
    return folder / digest([images.fingerprint, PACKING])


def _index_file(folder: Path, first: int) -> Path:
    return folder / f"{first // SHARD:06d}.npy"


def _missing_shards(images: ImageSet, folder: Path) -> list[int]:
    """The first image of each shard that is not in `folder`."""
    return [first for first in range(0, len(images), SHARD) if not _index_file(folder, first).exists()]


def _count(images: ImageSet, shards: Sequence[int]) -> int:
    return sum(len(_numbers(images, first)) for first in shards)


def _numbers(images: ImageSet, first: int) -> range:
    """The images of the shard that begins at image `first`."""
    return range(first, min(first + SHARD, len(images)))


def tiles_under(box: Box, packed: bytes | memoryview, width: int, height: int) -> tuple[bytearray, int, int]:
    """The JPEG of the tiles under `box` of a packed image, and the pixel of that image where it begins.

    `packed` is what `_jpeg` made of an image of `width` times `height` pixels.
    """
    columns, rows = _tiles(width, height)
    left, right = max(0, (box[0] - MARGIN) // (TILE * BLOCK)), min(columns, -(-(box[2] + MARGIN) // (TILE * BLOCK)))
    top, bottom = max(0, (box[1] - MARGIN) // BLOCK), min(rows, -(-(box[3] + MARGIN) // BLOCK))
    lengths = np.frombuffer(packed, _LENGTH, columns * rows).reshape(rows, columns)
    jpeg = packed[lengths.nbytes :]
    row_ends = np.cumsum(lengths.sum(axis=1, dtype=np.int64))
    start = len(jpeg) - int(row_ends[-1])  # where the header ends and the codes begin
    inside = lengths[top:bottom, left:right]
    begins = start + row_ends[top:bottom] - lengths[top:bottom, left:].sum(axis=1, dtype=np.int64)
    ends = begins + inside.sum(axis=1, dtype=np.int64)
    codes = [jpeg[a:b] for a, b in zip(begins.tolist(), ends.tolist(), strict=True)]
    part = bytearray(b"".join([jpeg[:start], *codes]))
    frame = part.index(_START_OF_FRAME) + 5  # behind the marker, the segment's length and the bits a sample
    part[frame : frame + 4] = b"".join(
        pixels.to_bytes(2, "big") for pixels in ((bottom - top) * BLOCK, (right - left) * TILE * BLOCK)
    )
    markers = start - 1 + np.cumsum(inside, dtype=np.int64)
    kinds = np.frombuffer(part, np.uint8)
    kinds[markers] = _RESTART + np.arange(len(markers)) % 8
    kinds[markers[-1]] = _END
    return part, left * TILE * BLOCK, top * BLOCK


def chosen(drawn: RandomCrop, levels: Sequence[tuple[int, int]], size: int) -> tuple[int, Box]:
    """Which of the `levels` (widths and heights) a crop to `size` pixels is read from, and its box there."""
    for level in range(len(levels) - 1, 0, -1):
        left, top, right, bottom = box = drawn.box(*levels[level])
        if min(right - left, bottom - top) >= size:
            return level, box
    return 0, drawn.box(*levels[0])


def _packed(image: Image.Image) -> list[tuple[bytes, tuple[int, int]]]:
    """The levels of `image`, its own size first: a JPEG of whole tiles, and how many pixels of it are the image's."""
    levels, scale = [(_jpeg(image), image.size)], STEP
    while min(size := (round(image.width * scale), round(image.height * scale))) >= SMALLEST:
        levels.append((_jpeg(image.resize(size, Image.Resampling.BICUBIC)), size))
        scale *= STEP
    return levels


def _jpeg(image: Image.Image) -> bytes:
    """The bytes of each tile, with its marker, as `_LENGTH`; behind them `image` as a JPEG of whole tiles.

    The image's last column and row are repeated until it is.
    """
    width, height = image.size
    beyond = ((0, -height % BLOCK), (0, -width % (TILE * BLOCK)), (0, 0))
    buffer = io.BytesIO()
    padded = Image.fromarray(np.pad(np.asarray(image), beyond, mode="edge"))
    padded.save(buffer, "JPEG", quality=QUALITY, subsampling="4:2:0", restart_marker_blocks=TILE)
    jpeg = buffer.getvalue()
    scan = jpeg.index(_START_OF_SCAN) + 2
    start = scan + int.from_bytes(jpeg[scan : scan + 2], "big")
    codes = np.frombuffer(jpeg, np.uint8, offset=start)
    # Codes hold no byte 255 without a 0 behind it, so that what looks like a marker is one.
    ends = np.flatnonzero((codes[:-1] == 0xFF) & (codes[1:] >= _RESTART) & (codes[1:] <= _END)) + 2
    return np.diff(ends, prepend=0).astype(_LENGTH).tobytes() + jpeg


def _tiles(width: int, height: int) -> tuple[int, int]:
    """How many columns and rows of tiles an image of so many pixels has."""
    return -(-width // (TILE * BLOCK)), -(-height // BLOCK)
