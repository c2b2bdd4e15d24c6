"""Reads image files of any usual kind as 8-bit RGB, or says what is wrong with one."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from genrobust.core import UserError, cores, reading

FORMATS = {  # what is read, by extension; formats that run a program (EPS) or hold no picture stay out
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".ppm": "PPM",
    ".pgm": "PPM",
}
UNREAD = {".avif", ".heic", ".heif", ".jp2", ".jxl", ".jxr", ".psd", ".svg", ".tga"}  # images of other formats
MAX_PIXELS = 89_478_485  # Pillow's own warning line: 256 MiB of 24-bit pixels; far beyond any photograph in a data set
LARGEST_FILE = 2**30  # bytes: more than so many pixels take in any format
LONGEST_SIDE = 100  # times the shorter one: the shorter is resized, and pixels grow with the square of this
_TOO_LARGE = f"it claims more than {MAX_PIXELS / 1e6:.0f} million pixels (a decompression bomb?)"
T = TypeVar("T")


def read_image(source: Path | bytes, name: str | None = None) -> Image.Image:
    """Decode `source`, a path or encoded bytes, to 8-bit RGB in its own size.

    It is turned as its EXIF says; transparency lies on white; 16-bit and float gray are scaled to 8 bits; palette, CMYK
    and gray become RGB; of an animation the first frame is taken. `name` stands for bytes in messages.

    Raises:
        UserError: The file is missing, empty, no image, truncated, or too large to be decoded safely.
    """
    where = str(source) if isinstance(source, Path) else (name or "image")
    try:
        return _decode(source)
    except _Unreadable as error:
        reason = str(error)
    except FileNotFoundError:
        reason = "no such file"
    except PermissionError:
        reason = "no permission to read it"
    except UnidentifiedImageError:
        kind = Path(where).suffix.lower()
        reason = "it is no image of a known kind, whatever its name says"
        reason = f"{kind} images are not read: convert it" if kind in UNREAD else reason
    except Image.DecompressionBombError:
        reason = _TOO_LARGE
    except Exception as error:  # Pillow's decoders raise anything on damaged data
        reason = f"it is damaged or truncated ({error or type(error).__name__})"
    raise UserError(f"cannot read the image {where}: {reason}. Replace or remove the file, then run again")


def broken_images(read: Callable[[T], Image.Image], images: Iterable[T]) -> list[str]:
    """Decode `images` with `read`, in threads; return the error of each that cannot be read, in their order."""

    def error_of(image: T) -> str:
        try:
            read(image)
        except UserError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(cores()) as pool:
        return [error for error in pool.map(error_of, images) if error]


def image_files(folder: Path, any_format: bool = False) -> Iterator[Path]:
    """Yield the image files below `folder` as `walk_images` does, with `any_format` also those that are not read.

    Raises:
        UserError: A folder cannot be read, a link leads back to a folder which it lies in, or an image is of another
            format, unless `any_format`.
    """
    return (folder / key for key, _ in walk_images(folder, any_format=any_format))


def walk_images(folder: Path, below: str = "", any_format: bool = False) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the image files below ``folder/below`` by their extension, without hidden files and folders, in no order.

    Each comes after its path below `folder`, with ``/``.

    Raises:
        UserError: A folder cannot be read, a link leads back to a folder which it lies in, or, at the end, an image is
            of another format, unless `any_format`.
    """
    unread: list[str] = []
    left: list[tuple[str, tuple[str, ...]]] = [(below, (os.path.realpath(folder / below),))]
    while left:
        at, above = left.pop()
        where = folder / at
        with reading(f"the folder {where}"), os.scandir(where) as entries:
            for entry in entries:
                key = f"{at}/{entry.name}" if at else entry.name
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    real = f"{above[-1]}{os.sep}{entry.name}"
                    if entry.is_symlink():
                        real = os.path.realpath(entry.path)
                        if any(Path(ancestor).is_relative_to(real) for ancestor in above):
                            raise UserError(f"the link {entry.path} leads back to {real}, which it lies in: remove it")
                    left.append((key, (*above, real)))
                elif (kind := Path(entry.name).suffix.lower()) in FORMATS or (kind in UNREAD and any_format):
                    yield key, entry
                elif kind in UNREAD:
                    unread.append(entry.path)
    if unread:
        others = f" and {len(unread) - 1:,} others" if unread[1:] else ""
        kind = Path(unread[0]).suffix.lower()
        raise UserError(
            f"{unread[0]}{others}: {kind} images are not read: convert to PNG or JPEG and remove the originals"
        )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: as a file, it is named as one that cannot be read
        return False


class _Unreadable(Exception):
    """A reason of our own."""


def _decode(source: Path | bytes) -> Image.Image:
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if isinstance(source, Path) and not source.is_file():  # a named pipe would be waited for
        raise _Unreadable("it is no regular file")
    if size == 0:
        raise _Unreadable("it is empty (zero bytes)")
    if size > LARGEST_FILE:
        raise _Unreadable(f"it has more than {LARGEST_FILE:,} bytes")
    with Image.open(
        io.BytesIO(source) if isinstance(source, bytes) else source, formats=[*set(FORMATS.values())]
    ) as image:
        if image.width * image.height > MAX_PIXELS:
            raise _Unreadable(_TOO_LARGE)
        if max(image.size) > LONGEST_SIDE * min(image.size):
            raise _Unreadable(f"one of its sides, {image.width} x {image.height}, is {LONGEST_SIDE} times the other")
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return _to_rgb(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _scale_to_8_bits(image).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB") if image.mode != "RGB" else image


def _scale_to_8_bits(image: Image.Image) -> Image.Image:
    """Gray of 16 bits, or float, to 8 bits. Pillow's own ``convert`` clips at 255 instead."""
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise _Unreadable("it holds values that are no numbers (NaN or infinite)")
    least, most = float(values.min()), float(values.max())
    if most > 65535 or (least < 0 and image.mode != "F"):
        raise _Unreadable(f"its gray values go from {least:g} to {most:g}, and no scale is known: save it with 16 bits")
    tops = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0,)  # the scale of floats follows from the largest
    top = next((t for t in tops if values.max() <= t), tops[-1])
    return Image.fromarray(np.clip(np.rint(values * (255 / top)), 0, 255).astype(np.uint8))
