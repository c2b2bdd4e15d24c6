"""The parts that pages share: their templates, thumbnails and formats of values."""

from __future__ import annotations

import base64
import hashlib
import io
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, Template
from markupsafe import Markup, escape
from PIL import Image

from genrobust import __version__
from genrobust.core import ImageSet, LabelSpace, count, hashed_seed, templates
from genrobust.report.wording import EN_DASH, duration, number, span

SIDE, SMALL = 96, 64  # pixels of a thumbnail at the most, of few and of many: a page is one file
CLASSES = 120  # on a contact sheet, evenly through the label space


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture on a page: a data: URI, what it shows in words, a line below it, and what pointing at it shows."""

    uri: str
    alt: str
    caption: str
    title: str = ""


def thumbnail_bytes(image: Image.Image, side: int = SMALL) -> bytes:
    """Return `image` at `side` pixels at the most, as WebP: lossless where that is the smaller file."""
    encodings, small = [], image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    for lossless in (True, False):
        data = io.BytesIO()
        small.save(data, "WEBP", lossless=lossless, quality=80, method=2)  # 4 takes four times as long for 3 % less
        encodings.append(data.getvalue())
    return min(encodings, key=len)


def data_uri(data: bytes) -> str:
    """Return PNG or WebP bytes as a data: URI."""
    return f"data:{media_type(data)};base64,{base64.b64encode(data).decode()}"


def media_type(data: bytes) -> str:
    """Return the media type of PNG or WebP bytes."""
    return "image/png" if data.startswith(b"\x89PNG") else "image/webp"


def make_thumbnail(images: ImageSet, index: int, alt: str, caption: str) -> Thumbnail:
    """Return the thumbnail of image `index`, at SIDE pixels at the most."""
    return Thumbnail(data_uri(thumbnail_bytes(images.image(index), SIDE)), alt, caption)


def contact_sheet(images: ImageSet, labels: LabelSpace, per_class: int) -> list[tuple[str, list[Thumbnail]]]:
    """Show a few images of each class, drawn by a hash of their keys: the same ones each time, and nobody's choice."""
    keys, stride = images.keys, -(-len(labels) // CLASSES)
    sheet = []
    for label in range(0, len(labels), stride):
        indices = sorted(np.flatnonzero(images.labels == label).tolist(), key=lambda i: hashed_seed("audit", keys[i]))
        name = labels.names[label]
        drawn = sorted(indices[:per_class])
        sheet.append((name, [make_thumbnail(images, i, f"{name}, {keys[i]}", images.styles[i]) for i in drawn]))
    return sheet


def render(template: str, **values: Any) -> str:
    """Render the page `template`, which loads nothing from anywhere, with every value escaped."""
    return _environment().get_template(template).render(version=__version__, style=verbatim("report.css"), **values)


def render_text(source: str, **values: Any) -> Markup:
    """Render a part of a page from its `source`, with every value escaped."""
    return Markup(_compiled(source).render(values))


@cache
def _compiled(source: str) -> Template:
    return _environment().from_string(source)


@cache
def _environment() -> Environment:
    environment = templates("report", autoescape=True)
    filters = (format_number, percent, number, span, duration, unbroken, breakable)
    environment.filters |= {f.__name__: f for f in filters}
    environment.globals |= {"count": count}
    return environment


def own_script(file: str | Path = "report.js") -> dict[str, Markup | str]:
    """Return the script of a page, and its hash, by which the page's policy lets no other script run."""
    script = verbatim(file)
    sha256 = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"script": script, "script_sha256": sha256}


def verbatim(file: str | Path) -> Markup:
    """Return a file of ours, by its name beside the templates or by its path: it is not escaped."""
    return Markup((Path(__file__).parent / file).read_text(encoding="utf-8"))


def to_json_values(value: Any) -> Any:
    """Return `value` as JSON holds it: tuples as lists, paths by their last name, a NaN or an infinity as null."""
    if isinstance(value, dict):
        return {str(k): to_json_values(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_values(v) for v in value]
    if isinstance(value, Path):
        return value.name
    return None if isinstance(value, float) and not math.isfinite(value) else value


def format_number(value: float | None, digits: int = 2) -> str:
    """Format as `number`: "12.34", "−0.50", or a dash for None, NaN and infinity."""
    return EN_DASH if value is None or not math.isfinite(value) else number(value, digits=digits)


def unbroken(text: str) -> str:
    """Keep a percent sign, and the number of top-1, on the line of what it belongs to."""
    return text.replace(" %", "\u00a0%").replace("op-1 ", "op\u20111 ")


def breakable(name: str) -> Markup:
    """Let a line end behind a plus sign, as in the name of a mixture, and not somewhere in a word."""
    return Markup(str(escape(name)).replace("+", "+<wbr>"))


def percent(fraction: float | None, digits: int = 1) -> str:
    """Format a fraction as "12.3 %" with a space that does not break."""
    return EN_DASH if fraction is None else f"{format_number(100 * fraction, digits)}\u00a0%"
