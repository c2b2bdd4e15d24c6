"""Images of every kind are read right, and damaged ones are named with a reason."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genrobust.core import UserError
from genrobust.data import read_image, walk_images


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def array(values: list[float], kind: type, file: str = "TIFF") -> bytes:
    return encoded(Image.fromarray(np.array([values], dtype=kind)), file)


def two(mode: str, *colors: object) -> Image.Image:
    image = Image.new(mode, (2, 1), colors[0])
    image.putpixel((1, 0), colors[1])
    return image


def palette() -> Image.Image:
    image = two("P", 0, 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    return image


def gray_tiff(bits: int, pixels: bytes, zero_is: int = 1) -> bytes:
    """A TIFF of two gray pixels as Pillow writes none: of 12 bits, or one whose 0 is black (1) or white (0)."""
    tags = {256: 2, 257: 1, 258: bits, 259: 1, 262: zero_is, 273: 8, 277: 1, 278: 1, 279: len(pixels)}
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    begin = b"II*\0" + struct.pack("<I", 12) + pixels.ljust(4, b"\0") + struct.pack("<H", len(tags))
    return begin + entries + b"\0" * 4


TURNED = Image.Exif()
TURNED[0x0112] = 6  # to be turned a quarter clockwise
BLACK, WHITE, GRAY, RED = (0, 0, 0), (255, 255, 255), (127, 127, 127), (255, 0, 0)
FRAMES = [Image.new("RGB", (1, 1), color) for color in ("red", "blue")]
NOISE = Image.effect_noise((64, 64), 80)
JPEG = encoded(NOISE.convert("RGB"), "JPEG")


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (array([0, 257 * 100, 65535], np.uint16, "PNG"), [[BLACK, (100, 100, 100), WHITE]]),  # scaled, not clipped
        (array([0, 0.5, 1], np.float32), [[BLACK, (128, 128, 128), WHITE]]),
        (array([0, 0.25, 0.5], np.float32), [[BLACK, (64, 64, 64), (128, 128, 128)]]),  # not by its own largest value
        (gray_tiff(12, b"\0\x0f\xff"), [[BLACK, WHITE]]),
        (gray_tiff(16, b"\0\0\xff\xff", zero_is=0), [[WHITE, BLACK]]),
        (b"P5 2 1 4095\n\0\0\x0f\xff", [[BLACK, WHITE]]),
        (encoded(two("RGBA", (0, 0, 0, 0), (255, 0, 0, 255))), [[WHITE, RED]]),
        (encoded(Image.new("RGBA", (1, 1), (0, 0, 0, 128))), [[GRAY]]),
        (encoded(Image.new("LA", (1, 1), (0, 128))), [[GRAY]]),
        (encoded(palette()), [[(10, 20, 30), (200, 100, 50)]]),
        (encoded(palette(), transparency=1), [[(10, 20, 30), WHITE]]),
        (encoded(two("RGB", BLACK, WHITE), exif=TURNED), [[BLACK], [WHITE]]),
        (encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), [[RED]]),
        (encoded(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "TIFF"), [[RED]]),
        (encoded(Image.new("RGB", (100, 1), RED)), [[RED] * 100]),  # as long as an image may be
    ],
)
def test_every_kind_becomes_8_bit_rgb(tmp_path: Path, data: bytes, pixels: list[list[tuple[int, ...]]]) -> None:
    (tmp_path / "named.jpg").write_bytes(data)  # a name does not say the kind
    for source in (data, tmp_path / "named.jpg"):
        image = read_image(source)
        assert image.mode == "RGB" and np.array_equal(np.asarray(image), np.array(pixels))


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" * 100)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


BAD = {
    "32-bit.tif": (array([0, 2**31 - 1], np.int32), "gray values"),
    "bomb.png": (png_that_claims(60_000, 60_000), "decompression bomb"),
    "cut.jpg": (JPEG[: len(JPEG) // 2], "truncated"),
    "empty.png": (b"", "zero bytes"),
    "float.tif": (array([0, 255], np.float32), "gray values.*0 to 255"),
    "nan.tif": (array([0, np.nan], np.float32), "NaN"),
    "negative.tif": (array([-5, 100], np.int32), "gray values"),
    "notes.jpg": (b"a shopping list: eggs, milk\n" * 20, "no image of a known kind"),
    "nothing.png": (png_that_claims(0, 5), "truncated|no image"),
    "program.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image of a known kind"),
    "strip.png": (png_that_claims(101, 1), "100 times the other"),
}


def test_broken_images_are_named_with_a_reason_and_others_are_not(tmp_path: Path) -> None:
    for name, (data, reason) in BAD.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=f"(?s){name}.*{reason}"):
            read_image(data, name=name)
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.png").write_bytes(encoded(NOISE))
    (tmp_path / "readme.txt").write_text("no image by its name")
    assert sorted(key for key, _ in walk_images(tmp_path)) == sorted([*BAD, "good/a.png"])


def test_large_scans_are_read_without_a_warning_and_jpegs_at_half_their_size(tmp_path: Path) -> None:
    scan = Image.new("L", (9500, 9501))  # of 90 million pixels
    for name, size in (("scan.jpg", (4751, 4750)), ("scan.png", (9501, 9500))):
        scan.save(tmp_path / name, exif=TURNED)
        code = f"from genrobust.data import read_image; print(read_image(open({name!r}, 'rb').read()).size)"
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == (f"{size}\n", "")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    for name, reason in (("pipe", "no regular"), ("zero", "no regular"), ("folder", "no regular"), ("gone", "no such")):
        with pytest.raises(UserError, match=rf"{name}\.png: .*{reason} file"):
            read_image(tmp_path / f"{name}.png")


def test_images_of_other_formats_are_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for name in ("a.jfif", "b.JPE", "notes.txt"):
        (tmp_path / "set" / name).write_bytes(JPEG)
    assert sorted(key for key, _ in walk_images(tmp_path / "set")) == ["a.jfif", "b.JPE"]
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "d.heic").write_bytes(b"an image")
    (tmp_path / "set" / "link").symlink_to(tmp_path / "linked")
    (tmp_path / "set" / "e.HEIC").write_bytes(b"an image")
    with pytest.raises(UserError, match=r"heic and 1 others: \.heic images are not read|HEIC and 1 others"):
        list(walk_images(tmp_path / "set"))
    keys = sorted(key for key, _ in walk_images(tmp_path / "set", any_format=True))
    assert keys == ["a.jfif", "b.JPE", "e.HEIC", "link/d.heic"]
