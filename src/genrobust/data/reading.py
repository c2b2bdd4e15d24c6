"""Reads an image file of any usual kind as 8-bit RGB, and says in words what is wrong with one that cannot be read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from genrobust.core import UserError

FORMATS = {  # what is read, by extension; formats that run a program (EPS) or hold no picture stay out
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".ppm": "PPM",
    ".pgm": "PPM",
}
MAX_PIXELS = 89_478_485  # Pillow's own warning line: 256 MiB of 24-bit pixels; far beyond any photograph in a data set


def read_image(source: Path | bytes, name: str | None = None) -> Image.Image:
    """Decode `source`, a path or encoded bytes, to 8-bit RGB in its own size.

    Turned as its EXIF says; transparency lies on white; 16-bit and float grey are scaled to 8 bits; palette, CMYK and
    grey become RGB; of an animation the first frame. `name` stands for bytes in messages. Raises UserError that names
    the file and the reason: missing, empty, no image, truncated, or too large to be decoded safely.
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
        reason = "it is no image of a known kind, whatever its name says"
    except Image.DecompressionBombError:
        reason = _too_large()
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, MemoryError) as error:
        # Pillow's decoders raise any of these on damaged data
        reason = f"it is damaged or truncated ({error})"
    raise UserError(f"cannot read the image {where}: {reason}. Replace or remove the file, then run again")


def check_images(folder: Path, workers: int = 4) -> list[tuple[Path, str]]:
    """Decode every image file below `folder`; return (path, reason) of each that cannot be read, sorted by path."""

    def check(path: Path) -> tuple[Path, str] | None:
        try:
            read_image(path)
        except UserError as error:
            return path, str(error)
        return None

    with ThreadPoolExecutor(workers) as pool:
        return [bad for bad in pool.map(check, sorted(image_files(folder))) if bad]


def image_files(folder: Path) -> Iterator[Path]:
    """The image files below `folder` by their extension, in no order; hidden files and folders are passed over.

    Raises UserError for a folder that is missing or may not be read.
    """
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror or error}") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from image_files(entry)
        elif entry.suffix.lower() in FORMATS:
            yield entry


class _Unreadable(Exception):
    """A reason of our own, told as it is."""


def _too_large() -> str:
    return f"it claims more than {MAX_PIXELS / 1e6:.0f} million pixels (a decompression bomb?)"


def _decode(source: Path | bytes) -> Image.Image:
    empty = source.stat().st_size == 0 if isinstance(source, Path) else not source
    if empty:
        raise _Unreadable("it is empty (zero bytes)")
    with Image.open(
        io.BytesIO(source) if isinstance(source, bytes) else source, formats=[*set(FORMATS.values())]
    ) as image:
        if image.width * image.height > MAX_PIXELS:
            raise _Unreadable(_too_large())
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
    """Grey of 16 or 32 bits, or float, to 8 bits. Pillow's own ``convert`` clips at 255 instead."""
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise _Unreadable("it holds values that are no numbers (NaN or infinite)")
    tops = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0,)  # floats tell their scale by their largest value
    top = next((t for t in tops if values.max() <= t), tops[-1])
    return Image.fromarray(np.clip(np.rint(values * (255 / top)), 0, 255).astype(np.uint8))
