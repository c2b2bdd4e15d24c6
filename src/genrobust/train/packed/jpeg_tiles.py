"""The format of a packed image: a JPEG whose tiles end in restart markers, after a table of the tiles' lengths."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

QUALITY = 90  # FFCV's default; crops then have a PSNR of 37 dB or more against crops of the original photograph
# Pixels per side that are coded together: colors are stored at half the resolution.
BLOCK = 16
# Blocks between restart markers. Fewer cost bytes (1 % at 4), more cost decoded pixels outside of a crop.
TILE = 2
TILE_WIDTH = TILE * BLOCK  # pixels
MARGIN = 2  # pixels around a crop from which its colors are interpolated

_START_OF_FRAME = b"\xff\xc0"
_START_OF_SCAN = b"\xff\xda"
_END = 0xD9
# The first of eight restart markers, which are used in turn.
_RESTART = 0xD0
# Type of a tile's length: its 512 pixels take 3,072 bytes at most.
_LENGTH = np.dtype("<u2")

Box = tuple[int, int, int, int]  # left, top, right and bottom, in pixels


def encode(image: Image.Image) -> bytes:
    """Encode `image` as a table of tile lengths (`_LENGTH`, including markers), followed by a JPEG of whole tiles.

    The last column and row of the image are repeated to fill the last tiles.
    """
    width, height = image.size
    missing_rows = -height % BLOCK
    missing_columns = -width % TILE_WIDTH
    pixels = np.pad(np.asarray(image), ((0, missing_rows), (0, missing_columns), (0, 0)), mode="edge")
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY, subsampling="4:2:0", restart_marker_blocks=TILE)
    jpeg = buffer.getvalue()

    # Huffman codes begin after the header of the scan, which starts with its own length.
    scan = jpeg.index(_START_OF_SCAN) + len(_START_OF_SCAN)
    start = scan + int.from_bytes(jpeg[scan : scan + 2], "big")
    codes = np.frombuffer(jpeg, np.uint8, offset=start)
    # Within codes, a byte 0xFF is always followed by 0: whatever looks like a marker is one.
    is_marker = (codes[:-1] == 0xFF) & (codes[1:] >= _RESTART) & (codes[1:] <= _END)
    ends = np.flatnonzero(is_marker) + 2
    lengths = np.diff(ends, prepend=0).astype(_LENGTH)
    return lengths.tobytes() + jpeg


def tiles_under(box: Box, packed: bytes | memoryview, width: int, height: int) -> tuple[bytearray, int, int]:
    """Make a JPEG of the tiles under `box`.

    Args:
        packed: The result of `encode` for an image of `width` x `height` pixels.

    Returns:
        The JPEG, and the position (x, y) in the image of its first pixel.
    """
    columns = -(-width // TILE_WIDTH)
    rows = -(-height // BLOCK)
    left = max(0, (box[0] - MARGIN) // TILE_WIDTH)
    top = max(0, (box[1] - MARGIN) // BLOCK)
    right = min(columns, -(-(box[2] + MARGIN) // TILE_WIDTH))
    bottom = min(rows, -(-(box[3] + MARGIN) // BLOCK))

    # Copy the header and, from each row of tiles, the adjacent codes under the box.
    lengths = np.frombuffer(packed, _LENGTH, columns * rows).reshape(rows, columns)
    jpeg = packed[lengths.nbytes :]
    row_ends = np.cumsum(lengths.sum(axis=1, dtype=np.int64))
    header_size = len(jpeg) - int(row_ends[-1])
    inside = lengths[top:bottom, left:right]
    begins = header_size + row_ends[top:bottom] - lengths[top:bottom, left:].sum(axis=1, dtype=np.int64)
    ends = begins + inside.sum(axis=1, dtype=np.int64)
    pieces = [jpeg[:header_size]]
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        pieces.append(jpeg[begin:end])
    part = bytearray(b"".join(pieces))

    # Write the height and width of the part into the frame header, after its marker, length and bits per sample.
    frame = part.index(_START_OF_FRAME) + 5
    part[frame : frame + 2] = ((bottom - top) * BLOCK).to_bytes(2, "big")
    part[frame + 2 : frame + 4] = ((right - left) * TILE_WIDTH).to_bytes(2, "big")

    # Number the restart markers anew, and end the last tile with the end marker.
    markers = header_size - 1 + np.cumsum(inside, dtype=np.int64)
    codes = np.frombuffer(part, np.uint8)
    codes[markers] = _RESTART + np.arange(len(markers)) % 8
    codes[markers[-1]] = _END
    return part, left * TILE_WIDTH, top * BLOCK
