"""Decode image files of any usual kind to 8-bit RGB, and find them below a folder."""

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

# Pillow's format by file extension. Formats that run a program (EPS) or hold no picture are left out.
FORMATS = {
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
# Extensions of image formats that genrobust does not read.
UNREAD = {
    ".avif", ".cr2", ".dcm", ".dng", ".exr", ".heic", ".heif", ".ico", ".j2k", ".jp2", ".jpx", ".jxl", ".jxr", ".nef",
    ".psd", ".svg", ".tga",
}  # fmt: skip
BROKEN_SHOWN = 10  # unreadable images that a message lists
# Pillow raises above this number of pixels. Scans and photographs have fewer.
MAX_PIXELS = 178_956_970
# A larger JPEG is decoded at half its size, because a decoded pixel takes 4 bytes.
HALVED_PIXELS = MAX_PIXELS // 2
# Limit of the aspect ratio. The shorter side is resized, so memory grows with the square of the ratio.
LONGEST_SIDE = 100
# Pillow warns above half of MAX_PIXELS. The filter is global: a filter for one block would affect other threads.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def read_image(source: Path | bytes, name: str | None = None, side: int | None = None) -> Image.Image:
    """Decode `source`, a path or encoded bytes, to 8-bit RGB in its own size.

    The EXIF orientation is applied. Transparent pixels become white. Gray of 16 bits (up to 65535) and of floats (up to
    1.0) is scaled to 8 bits. Palette, CMYK and gray images become RGB. The first frame of an animation is read. A JPEG
    of more than 89 million pixels is decoded at half its width and height.

    Args:
        name: The name of encoded bytes in messages.
        side: Decode a JPEG at a half, a quarter or an eighth of its size, with `side` pixels or more. This is faster.
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
        if kind in UNREAD:
            reason = f"{kind} images are not read: convert it"
    except Image.DecompressionBombError:
        reason = f"it claims more than {MAX_PIXELS / 1e6:.0f} million pixels: scale it down (a decompression bomb?)"
    except Exception as error:  # Pillow's decoders raise anything on damaged data
        reason = f"it is damaged or truncated ({error or type(error).__name__})"
    raise UserError(f"cannot read the image {where}: {reason}. Replace or remove the file, then run again")


def describe_broken(images: ImageSet, broken: Sequence[int]) -> str:
    """Explain why images cannot be read: the first ten, and how many there are."""
    reasons = []
    for place in broken[:BROKEN_SHOWN]:
        try:
            images.image(place)
        except UserError as error:
            reasons.append(str(error))
    if len(broken) == 1:
        return reasons[0]
    lines = [f"{len(broken):,} of the {len(images):,} images of {images.name} cannot be read:", *reasons]
    if len(broken) > len(reasons):
        lines.append(f"and {len(broken) - len(reasons):,} more")
    return "\n".join(lines)


def walk_images(folder: Path, below: str = "", any_format: bool = False) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the image files below ``folder/below``, found by extension, in no order.

    Each entry comes with its path below `folder`, written with ``/``. Hidden files and folders are skipped.
    """
    unread: list[str] = []
    # Folders that are left to list, each with the real paths of the folders that contain it.
    left: list[tuple[str, tuple[str, ...]]] = [(below, (os.path.realpath(folder / below),))]
    while left:
        at, above = left.pop()
        where = folder / at
        with reading(f"the folder {where}"), os.scandir(where) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                key = f"{at}/{entry.name}" if at else entry.name
                extension = Path(entry.name).suffix.lower()
                if _is_folder(entry):
                    left.append((key, (*above, _real_path(entry, above))))
                elif extension in FORMATS or (any_format and extension in UNREAD):
                    yield key, entry
                elif extension in UNREAD:
                    unread.append(entry.path)
    if unread:
        others = f" and {len(unread) - 1:,} others" if len(unread) > 1 else ""
        extension = Path(unread[0]).suffix.lower()
        raise UserError(f"{unread[0]}{others}: {extension} images are not read: convert them to PNG or JPEG")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: reported as a file that cannot be read
        return False


def _real_path(folder: os.DirEntry[str], above: Sequence[str]) -> str:
    """Resolve `folder`, which the folders `above` contain. Raise UserError if it is a link back to one of them."""
    if not folder.is_symlink():
        return f"{above[-1]}{os.sep}{folder.name}"
    real = os.path.realpath(folder.path)
    if any(Path(ancestor).is_relative_to(real) for ancestor in above):
        raise UserError(f"the link {folder.path} leads back to {real}, which it lies in: remove it")
    return real


class _Unreadable(Exception):
    """Reason why genrobust refuses an image."""


def _decode(source: Path | bytes, side: int | None) -> Image.Image:
    # A named pipe would block.
    if isinstance(source, Path) and source.exists() and not source.is_file():
        raise _Unreadable("it is no regular file")
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size == 0:
        raise _Unreadable("it is empty (zero bytes)")
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    with Image.open(file, formats=sorted(set(FORMATS.values()))) as image:
        if max(image.size) > LONGEST_SIDE * min(image.size):
            raise _Unreadable(f"one of its sides, {image.width} x {image.height}, is {LONGEST_SIDE} times the other")
        # draft() changes the size of JPEGs only.
        if side is not None:
            image.draft(None, (side, side))
        elif image.width * image.height > HALVED_PIXELS:
            image.draft(None, (image.width // 2, image.height // 2))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return _to_rgb(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _scale_to_8_bits(image).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _scale_to_8_bits(image: Image.Image) -> Image.Image:
    """Scale gray of 16 bits or of floats to 8 bits. Pillow's own ``convert`` clips at 255 instead.

    The scale depends on the kind of file, never on its values, so all images of a set have the same scale.
    """
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise _Unreadable("it holds values that are no numbers (NaN or infinite)")
    is_float = image.mode == "F"
    top = 1 if is_float else _largest_gray(image)
    tolerance = 1 / 510 if is_float else 0  # half of an 8-bit step
    if values.min() < -tolerance or values.max() > top + tolerance:
        values_range = f"{values.min():g} to {values.max():g}"
        raise _Unreadable(f"its gray values, {values_range}, are outside of 0 to {top}: scale all images alike")
    # Pillow inverts images in which 0 is white only if they have 8 bits.
    if getattr(image, "tag_v2", {}).get(PHOTOMETRIC_INTERPRETATION) == 0:
        values = top - values
    return Image.fromarray(np.clip(np.rint(values * (255 / top)), 0, 255).astype(np.uint8))


def _largest_gray(image: Image.Image) -> int:
    """Return the largest gray value of an integer file. A TIFF says how many bits it uses, such as 12.

    MaxSampleValue of a TIFF and sBIT of a PNG do not define the scale: the first is a statistic of the image, and
    values of the second are spread over all 16 bits.
    """
    tiff_tags = getattr(image, "tag_v2", {})
    bits = tiff_tags.get(BITSPERSAMPLE, (16,))[0]
    is_signed = tiff_tags.get(SAMPLEFORMAT, (1,))[0] == 2
    return 2 ** (bits - is_signed) - 1 if bits <= 16 else 65535
