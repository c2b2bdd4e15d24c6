"""Thumbnails of images on a page, as data: URIs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from genrobust.core import ImageSet, LabelSpace, hashed_seed

# Largest side of a thumbnail, in pixels. A page is one file, so pages with many images use small ones.
SIDE = 96
SMALL = 64
# WebP's method 4 takes four times as long for 3 % less.
WEBP_METHOD = 2
# Classes on a contact sheet, evenly through the label space.
MAX_CLASSES = 120


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture on a page.

    Attributes:
        uri: A data: URI.
        alt: Its content in words.
        caption: A line below it.
        title: A text that appears when one points at it.
    """

    uri: str
    alt: str
    caption: str
    title: str = ""


def thumbnail_bytes(image: Image.Image, side: int = SMALL) -> bytes:
    """Return `image` at no more than `side` pixels, as WebP: lossless if that gives the smaller file."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    encodings = []
    for lossless in (True, False):
        data = io.BytesIO()
        small.save(data, "WEBP", lossless=lossless, quality=80, method=WEBP_METHOD)
        encodings.append(data.getvalue())
    return min(encodings, key=len)


def data_uri(data: bytes) -> str:
    """Return PNG or WebP bytes as a data: URI."""
    return f"data:{media_type(data)};base64,{base64.b64encode(data).decode()}"


def media_type(data: bytes) -> str:
    """Return the media type of PNG or WebP bytes."""
    if data.startswith(b"\x89PNG"):
        return "image/png"
    return "image/webp"


def make_thumbnail(images: ImageSet, index: int, alt: str, caption: str) -> Thumbnail:
    """Return the thumbnail of image `index`, at no more than `SIDE` pixels."""
    return Thumbnail(data_uri(thumbnail_bytes(images.image(index), SIDE)), alt, caption)


def contact_sheet(images: ImageSet, labels: LabelSpace, per_class: int) -> list[tuple[str, list[Thumbnail]]]:
    """Return thumbnails of a few images of each class, chosen by a hash of their keys: the same ones each time."""
    stride = -(-len(labels) // MAX_CLASSES)
    sheet = []
    for label in range(0, len(labels), stride):
        name = labels.names[label]
        indices = np.flatnonzero(images.labels == label).tolist()
        indices.sort(key=lambda index: hashed_seed("audit", images.keys[index]))
        thumbnails = []
        for index in sorted(indices[:per_class]):
            thumbnails.append(make_thumbnail(images, index, f"{name}, {images.keys[index]}", images.styles[index]))
        sheet.append((name, thumbnails))
    return sheet
