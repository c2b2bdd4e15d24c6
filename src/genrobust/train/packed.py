"""Copies of images from which a crop is decoded without the rest: JPEGs whose tiles can be read one by one.

A JPEG is one stream of Huffman codes, so that a crop at its bottom costs the decoding of nearly all. With a restart
marker after every `TILE` blocks the decoder can begin anywhere: the bytes of the tiles under a crop, behind a header of
their size, are a JPEG of their own, which any decoder reads to the same pixels as the whole. (A decoder of regions such
as libjpeg-turbo's has to read all codes before the crop, and comes in no Python package that needs no compiler.)
"""

from __future__ import annotations

import io
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from genrobust.data import ImageSet, digest
from genrobust.errors import GenrobustError
from genrobust.files import lock, make_folder, remove_leftovers, replacing
from genrobust.progress import progress_bar

if TYPE_CHECKING:
    from torch import Tensor

QUALITY = 90  # FFCV's default; crops then have a PSNR of 35 dB or more against those of the original photograph
BLOCK = 16  # pixels, of either side, that are coded together: their colours are stored at half the resolution
TILE = 2  # blocks between restart markers: fewer cost bytes (1 % at 4), more cost pixels decoded beside a crop
MARGIN = 2  # pixels beside a crop that its colours are interpolated from
SHARD = 1000  # images a file
PACKING = f"JPEG {QUALITY}, tiles of {TILE * BLOCK} x {BLOCK}"  # what the pixels depend on

_START_OF_FRAME, _START_OF_SCAN, _END = b"\xff\xc0", b"\xff\xda", 0xD9
_RESTART = 0xD0  # and the seven after it, in turn

Box = tuple[int, int, int, int]  # left, top, right and bottom, in pixels


class PackedImages:
    """The images of an ImageSet, packed in `folder` as far as they are not yet there; `pool` decodes and encodes them.

    A killed packing goes on where it was. Raises UserError, naming it, for an image that cannot be read, and
    GenrobustError where there is no room, or where a file has been changed since.
    """

    def __init__(self, images: ImageSet, folder: Path, pool: Executor) -> None:
        self._folder = folder / digest([images.fingerprint, PACKING])
        make_folder(self._folder)
        with lock(self._folder, wait=True, mirrored=False):  # each machine packs its own
            remove_leftovers(self._folder)
            missing = [first for first in range(0, len(images), SHARD) if not self._index_file(first).exists()]
            if missing:
                with progress_bar(
                    f"packing {images.name}", len(images), done=len(images) - SHARD * len(missing)
                ) as bar:
                    for first in missing:
                        self._write(images, first, pool)
                        bar.advance(len(_numbers(images, first)))
        indices = [self._read_index(first) for first in range(0, len(images), SHARD)]
        self._where = np.concatenate([np.empty((0, 4), np.int64), *indices])

    def size(self, index: int) -> tuple[int, int]:
        """Width and height of image `index`, in pixels."""
        _, _, width, height = self._where[index].tolist()
        return width, height

    def crop(self, index: int, box: Box) -> Tensor:
        """The pixels of image `index` in `box`: uint8 [3, H, W], the channels of a pixel side by side in memory."""
        import torch
        from torchvision.io import ImageReadMode, decode_jpeg

        offset, length, width, height = self._where[index].tolist()
        path = self._bytes_file(index // SHARD * SHARD)
        try:
            with path.open("rb") as file:
                file.seek(offset)
                jpeg, left, top = tiles_under(box, file.read(length), width, height)
            pixels = decode_jpeg(torch.frombuffer(jpeg, dtype=torch.uint8), ImageReadMode.RGB)
        except (OSError, ValueError, IndexError, RuntimeError) as error:
            raise GenrobustError(f"cannot read a packed image in {path}: {error}: {self._remedy()}") from error
        x, y = box[0] - left, box[1] - top
        return pixels[:, y : y + box[3] - box[1], x : x + box[2] - box[0]]

    def _bytes_file(self, first: int) -> Path:
        return self._folder / f"{first // SHARD:06d}.jpegs"

    def _index_file(self, first: int) -> Path:
        """Offset, length, width and height of each image of a shard: written last, so a shard with it is whole."""
        return self._folder / f"{first // SHARD:06d}.npy"

    def _write(self, images: ImageSet, first: int, pool: Executor) -> None:
        rows, offset = [], 0
        with replacing(self._bytes_file(first), mirrored=False) as file:
            for data, (width, height) in pool.map(lambda i: _packed(images.image(i)), _numbers(images, first)):
                file.write(data)
                rows.append((offset, len(data), width, height))
                offset += len(data)
        with replacing(self._index_file(first), mirrored=False) as file:
            np.save(file, np.array(rows, np.int64), allow_pickle=False)

    def _read_index(self, first: int) -> np.ndarray:
        try:
            rows = np.load(self._index_file(first), allow_pickle=False)
            whole = self._bytes_file(first).stat().st_size == rows[-1, :2].sum()
        except (OSError, ValueError, IndexError) as error:
            raise GenrobustError(f"cannot read {self._index_file(first)}: {error}: {self._remedy()}") from error
        if not whole:
            raise GenrobustError(f"{self._bytes_file(first)} has not the size that it was written in: {self._remedy()}")
        return rows

    def _remedy(self) -> str:
        return f"delete {self._folder} and run again, and it is made anew"


def _numbers(images: ImageSet, first: int) -> range:
    """The images of the shard that begins at image `first`."""
    return range(first, min(first + SHARD, len(images)))


def tiles_under(box: Box, data: bytes, width: int, height: int) -> tuple[bytearray, int, int]:
    """The JPEG of the tiles under `box` of a packed image `data`, and the pixel of that image where it begins."""
    start = _scan_start(data)
    codes = np.frombuffer(data, np.uint8, offset=start)
    ends = np.flatnonzero((codes[:-1] == 0xFF) & (codes[1:] >= _RESTART) & (codes[1:] <= _END)) + 2  # behind markers
    edges = np.concatenate([[0], ends]) + start
    columns, rows = -(-width // (TILE * BLOCK)), -(-height // BLOCK)
    left, right = max(0, (box[0] - MARGIN) // (TILE * BLOCK)), min(columns, -(-(box[2] + MARGIN) // (TILE * BLOCK)))
    top, bottom = max(0, (box[1] - MARGIN) // BLOCK), min(rows, -(-(box[3] + MARGIN) // BLOCK))
    row_starts = np.arange(top, bottom) * columns
    pieces = zip(edges[row_starts + left].tolist(), edges[row_starts + right].tolist(), strict=True)
    jpeg = bytearray(b"".join([data[:start], *(data[a:b] for a, b in pieces)]))
    frame = data.index(_START_OF_FRAME) + 5  # behind the marker, the segment's length and the bits a sample
    jpeg[frame : frame + 4] = b"".join(
        pixels.to_bytes(2, "big") for pixels in ((bottom - top) * BLOCK, (right - left) * TILE * BLOCK)
    )
    numbers = row_starts[:, None] + np.arange(left, right)
    markers = start + np.cumsum(edges[numbers + 1] - edges[numbers]) - 1
    kinds = np.frombuffer(jpeg, np.uint8)
    kinds[markers] = _RESTART + np.arange(len(markers)) % 8
    kinds[markers[-1]] = _END
    return jpeg, left * TILE * BLOCK, top * BLOCK


def _packed(image: Image.Image) -> tuple[bytes, tuple[int, int]]:
    """`image` as a JPEG of whole tiles, its last column and row repeated, and its own size."""
    width, height = image.size
    beyond = ((0, -height % BLOCK), (0, -width % (TILE * BLOCK)), (0, 0))
    buffer = io.BytesIO()
    padded = Image.fromarray(np.pad(np.asarray(image), beyond, mode="edge"))
    padded.save(buffer, "JPEG", quality=QUALITY, subsampling="4:2:0", restart_marker_blocks=TILE)
    return buffer.getvalue(), image.size


def _scan_start(data: bytes) -> int:
    """Where the header of a packed image ends and its Huffman codes begin."""
    scan = data.index(_START_OF_SCAN) + 2
    return scan + int.from_bytes(data[scan : scan + 2], "big")
