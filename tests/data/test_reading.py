"""Images of every kind are read right, and damaged ones are named with a reason."""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genrobust.core import UserError
from genrobust.data.reading import broken_images, image_files, read_image, walk_images


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixel(data: bytes, x: int = 0, y: int = 0) -> tuple[int, ...]:
    image = read_image(data)
    assert image.mode == "RGB"
    value = image.getpixel((x, y))
    assert isinstance(value, tuple)
    return value


def see_through() -> Image.Image:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (255, 0, 0, 255))
    return image


def palette() -> Image.Image:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    return image


GRAY_16 = Image.fromarray(np.array([[0, 257 * 100, 65535]], dtype=np.uint16))
FLOATS = Image.fromarray(np.array([[0.0, 0.5, 1.0]], dtype=np.float32))
WHITE = (255, 255, 255)


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (encoded(GRAY_16), [(0, 0, 0), (100, 100, 100), WHITE]),  # scaled, not clipped
        (encoded(FLOATS, "TIFF"), [(0, 0, 0), (128, 128, 128), WHITE]),
        (encoded(see_through()), [WHITE, (255, 0, 0)]),
        (encoded(Image.new("RGBA", (1, 1), (0, 0, 0, 128))), [(127, 127, 127)]),
        (encoded(Image.new("LA", (1, 1), (0, 128))), [(127, 127, 127)]),
        (encoded(palette()), [(10, 20, 30), (200, 100, 50)]),
        (encoded(palette(), transparency=1), [(10, 20, 30), WHITE]),
    ],
    ids=["16 bit", "float", "transparent", "half RGBA", "half gray", "palette", "transparent palette"],
)
def test_every_kind_becomes_8_bit_rgb(data: bytes, pixels: list[tuple[int, ...]]) -> None:
    assert [pixel(data, x) for x in range(len(pixels))] == pixels


@pytest.mark.parametrize(
    "values",
    [np.array([[0, 2**31 - 1]], np.int32), np.array([[-5, 100]], np.int32), np.array([[0, 1e6]], np.float32)],
    ids=["32 bit", "negative", "float"],
)
def test_gray_of_no_known_scale_is_refused(values: np.ndarray) -> None:
    data = encoded(Image.fromarray(values), "TIFF")
    with pytest.raises(UserError, match=r"gray values go from -?\d+ to .*no scale is known: save it with 16 bits"):
        read_image(data, name="it")


def test_float_that_is_no_number_is_refused() -> None:
    data = encoded(Image.fromarray(np.array([[0.0, np.nan]], dtype=np.float32)), "TIFF")
    with pytest.raises(UserError, match=r"sky\.tif.*NaN"):
        read_image(data, name="sky.tif")


def test_cmyk_jpeg_has_its_colors() -> None:
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    r, g, b = pixel(encoded(red, "JPEG", quality=95))
    assert r > 200 and g < 60 and b < 60


def test_exif_rotation_is_applied() -> None:
    image = Image.new("RGB", (8, 4), "white")
    image.putpixel((0, 0), (0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn a quarter clockwise to see it upright
    turned = read_image(encoded(image, exif=exif))
    assert turned.size == (4, 8)
    assert turned.getpixel((3, 0)) == (0, 0, 0)


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    assert pixel(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])) == (255, 0, 0)


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


JPEG = encoded(Image.effect_noise((64, 64), 80).convert("RGB"), "JPEG")
BAD = {
    "empty.png": (b"", "zero bytes"),
    "notes.jpg": (b"a shopping list: eggs, milk\n" * 20, "no image of a known kind"),
    "cut.jpg": (JPEG[: len(JPEG) // 2], "truncated"),
    "bomb.png": (png_that_claims(60_000, 60_000), "decompression bomb"),
    "strip.png": (png_that_claims(101, 1), "is 100 times the other"),
    "nothing.png": (png_that_claims(0, 5), "truncated|no image"),
    "program.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image of a known kind"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bad_file_is_named_with_its_reason(tmp_path: Path, name: str) -> None:
    data, reason = BAD[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=f"(?s){name}.*{reason}.*(Replace|remove)"):
        read_image(tmp_path / name)
    with pytest.raises(UserError, match=f"(?s){name}.*{reason}"):
        read_image(data, name=name)
    with pytest.raises(UserError, match=r"gone\.png: no such file"):
        read_image(tmp_path / "gone.png")


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    for name in ("pipe", "zero", "folder"):
        with pytest.raises(UserError, match=rf"{name}\.png: it is no regular file"):
            read_image(tmp_path / f"{name}.png")
    assert len(broken_images(read_image, image_files(tmp_path))) == 2


def test_images_of_other_formats_are_not_passed_over(tmp_path: Path) -> None:
    for name in ("a.jfif", "b.JPE", "notes.txt"):
        (tmp_path / name).write_bytes(JPEG)
    assert sorted(key for key, _ in walk_images(tmp_path)) == ["a.jfif", "b.JPE"]
    assert broken_images(read_image, image_files(tmp_path)) == []
    (tmp_path / "c.AVIF").write_bytes(b"an image")
    with pytest.raises(UserError, match=r"c\.AVIF: \.avif images are not read: convert"):
        list(walk_images(tmp_path))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "d.heic").write_bytes(b"an image")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to(tmp_path / "linked")
    (tmp_path / "set" / "e.heic").write_bytes(b"an image")
    with pytest.raises(UserError, match=r"\.heic and 1 others: \.heic images are not read"):
        list(walk_images(tmp_path / "set"))
    assert sorted(key for key, _ in walk_images(tmp_path / "set", passing=True)) == ["e.heic", "link/d.heic"]


def test_a_name_does_not_say_the_kind_and_an_image_may_be_long(tmp_path: Path) -> None:
    (tmp_path / "png.jpg").write_bytes(encoded(Image.new("RGB", (100, 1), "red")))
    assert read_image(tmp_path / "png.jpg").size == (100, 1)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_all_that_is_broken_is_listed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "a" / "good.png")
    (tmp_path / "a" / "readme.txt").write_text("no image by its name, so nobody's concern")
    for name, (data, _) in BAD.items():
        (tmp_path / "a" / name).write_bytes(data)
    found = broken_images(read_image, sorted(image_files(tmp_path)))
    assert len(found) == len(BAD)
    assert all(
        re.search(f"{name}.*({BAD[name][1]})", error, re.S) for name, error in zip(sorted(BAD), found, strict=True)
    )
