"""Reads image files of any usual kind as 8-bit RGB, or says what is wrong with one."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, SAMPLEFORMAT

from genrobust.core import ImageSet, UserError, reading

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
    ".pbm": "PPM",
    ".pnm": "PPM",
}
UNREAD = {  # images of other formats
    ".avif", ".cr2", ".dcm", ".dng", ".exr", ".heic", ".heif", ".ico", ".j2k", ".jp2", ".jpx", ".jxl", ".jxr", ".nef",
    ".psd", ".svg", ".tga",
}  # fmt: skip
BROKEN_SHOWN = 10  # images that cannot be read, each with its reason
MAX_PIXELS = 178_956_970  # beyond which Pillow raises; scans and photographs have fewer
HALVED_PIXELS = MAX_PIXELS // 2  # beyond which a JPEG is decoded at half its size: a pixel takes 4 bytes
LONGEST_SIDE = 100  # times the shorter one: the shorter is resized, and pixels grow with the square of this
# Pillow warns beyond half of MAX_PIXELS. The filter is for the process: one for a block changes those of other threads.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def read_image(source: Path | bytes, name: str | None = None, side: int | None = None) -> Image.Image:
    """Decode `source`, a path or encoded bytes, to 8-bit RGB in its own size; a JPEG at a half, quarter or eighth of it
    that leaves `side` pixels or more, where `side` is given: that is faster.

    It is turned as its EXIF says; transparency lies on white; gray of 16 bits, up to 65535, and of floats, up to 1.0,
    is scaled to 8 bits; palette, CMYK and gray become RGB; of an animation the first frame is taken. A JPEG of more
    than 89 million pixels is decoded at half its width and height. `name` stands for bytes in messages.

    Raises:
        UserError: The file is missing, empty, no image, truncated, or too large to be decoded safely, or its gray has
            values beyond white.
    """
    where = str(source) if isinstance(source, Path) else (name or "image")
    try:
        return _decode(source, side)
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
        reason = f"it claims more than {MAX_PIXELS / 1e6:.0f} million pixels: scale it down (a decompression bomb?)"
    except Exception as error:  # Pillow's decoders raise anything on damaged data
        reason = f"it is damaged or truncated ({error or type(error).__name__})"
    raise UserError(f"cannot read the image {where}: {reason}. Replace or remove the file, then run again")


def describe_broken(images: ImageSet, broken: Sequence[int]) -> str:
    """Return what is wrong with the `broken` images of a set, by their places: the first ten, and the number of all."""
    reasons = []
    for place in broken[:BROKEN_SHOWN]:
        try:
            images.image(place)
        except UserError as error:
            reasons.append(str(error))
    if len(broken) == 1:
        return reasons[0]
    more = [f"and {len(broken) - len(reasons):,} more"] if len(broken) > len(reasons) else []
    number = f"{len(broken):,} of the {len(images):,} images of {images.name} cannot be read:"
    return "\n".join([number, *reasons, *more])


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


def _decode(source: Path | bytes, side: int | None) -> Image.Image:
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if isinstance(source, Path) and not source.is_file():  # a named pipe would be waited for
        raise _Unreadable("it is no regular file")
    if size == 0:
        raise _Unreadable("it is empty (zero bytes)")
    with Image.open(
        io.BytesIO(source) if isinstance(source, bytes) else source, formats=[*set(FORMATS.values())]
    ) as image:
        if max(image.size) > LONGEST_SIDE * min(image.size):
            raise _Unreadable(f"one of its sides, {image.width} x {image.height}, is {LONGEST_SIDE} times the other")
        if side is not None:  # draft changes JPEGs alone
            image.draft(None, (side, side))
        elif image.width * image.height > HALVED_PIXELS:
            image.draft(None, (image.width // 2, image.height // 2))
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
    """Gray of 16 bits, or float, to 8 bits. Pillow's own ``convert`` clips at 255 instead.

    The scale follows from the kind of file, never from the values: so all images of a set have one.
    """
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise _Unreadable("it holds values that are no numbers (NaN or infinite)")
    top, rounding = (1, 1 / 510) if image.mode == "F" else (_largest_gray(image), 0)  # half of an 8-bit step
    if values.min() < -rounding or values.max() > top + rounding:
        raise _Unreadable(
            f"its gray values go from {values.min():g} to {values.max():g}, and those of such a file from 0 to {top}: "
            "scale all images of the set alike, or save them with 8 or 16 bits"
        )
    if getattr(image, "tag_v2", {}).get(PHOTOMETRIC_INTERPRETATION) == 0:  # white is 0: Pillow inverts 8 bits alone
        values = top - values
    return Image.fromarray(np.clip(np.rint(values * (255 / top)), 0, 255).astype(np.uint8))


def _largest_gray(image: Image.Image) -> int:
    """The largest value that the integers of a file stand for; a TIFF says how many bits they have, such as 12.

    Its MaxSampleValue, and the sBIT of a PNG, say nothing of the scale: the one is a statistic of the image, and the
    other is of values that are spread over all 16 bits.
    """
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    bits, signed = tags.get(BITSPERSAMPLE, (16,))[0], tags.get(SAMPLEFORMAT, (1,))[0] == 2
    return 2 ** (bits - signed) - 1 if bits <= 16 else 65535
