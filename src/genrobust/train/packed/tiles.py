"""The format of a packed image: a JPEG whose tiles end in restart markers, behind a table of their lengths."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

QUALITY = 90  # FFCV's default; crops then have a PSNR of 37 dB or more against those of the original photograph
BLOCK = 16  # pixels, of either side, that are coded together: their colors are stored at half the resolution
TILE = 2  # blocks between restart markers: fewer cost bytes (1 % at 4), more cost pixels decoded beside a crop
MARGIN = 2  # pixels beside a crop that its colors are interpolated from

_START_OF_FRAME, _START_OF_SCAN, _END = b"\xff\xc0", b"\xff\xda", 0xD9
_RESTART = 0xD0  # and the seven after it, in turn
_LENGTH = np.dtype("<u2")  # of a tile: 512 pixels come to 3,072 bytes at the very most

Box = tuple[int, int, int, int]  # left, top, right and bottom, in pixels


def encoded(image: Image.Image) -> bytes:
    """Return the bytes of each tile, with its marker, as `_LENGTH`; behind them `image` as a JPEG of whole tiles.

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


def tiles_under(box: Box, packed: bytes | memoryview, width: int, height: int) -> tuple[bytearray, int, int]:
    """Return the JPEG of the tiles under `box` of a packed image, and the pixel of that image where it begins.

    `packed` is what `encoded` made of an image of `width` x `height` pixels.
    """
    columns, rows = -(-width // (TILE * BLOCK)), -(-height // BLOCK)
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
