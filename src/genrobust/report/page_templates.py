"""The templates that pages share, and the filters that format their values."""

from __future__ import annotations

import base64
import hashlib
import math
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, Template
from markupsafe import Markup, escape

from genrobust import __version__
from genrobust.core import count, templates
from genrobust.report.wording import EN_DASH, duration, number, span


def render(template: str, **values: Any) -> str:
    """Render the page `template`, with every value escaped. The page loads nothing."""
    style = verbatim("report.css")
    return _environment().get_template(template).render(version=__version__, style=style, **values)


def render_text(source: str, **values: Any) -> Markup:
    """Render a part of a page from its `source`, with every value escaped."""
    return Markup(_compile(source).render(values))


@cache
def _compile(source: str) -> Template:
    return _environment().from_string(source)


@cache
def _environment() -> Environment:
    environment = templates("report", autoescape=True)
    filters = (format_number, percent, number, span, duration, unbroken, breakable)
    environment.filters |= {function.__name__: function for function in filters}
    environment.globals |= {"count": count}
    return environment


def own_script(file: str | Path = "report.js") -> dict[str, Markup | str]:
    """Return the script of a page, and its hash. By the hash, the page's policy lets no other script run."""
    script = verbatim(file)
    sha256 = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"script": script, "script_sha256": sha256}


def verbatim(file: str | Path) -> Markup:
    """Return a file of this package, by its name next to the templates or by its path. It is not escaped."""
    return Markup((Path(__file__).parent / file).read_text(encoding="utf-8"))


def to_json_values(value: Any) -> Any:
    """Return `value` as JSON holds it: tuples as lists, paths by their last name, a NaN or an infinity as null."""
    if isinstance(value, dict):
        return {str(key): to_json_values(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_values(inner) for inner in value]
    if isinstance(value, Path):
        return value.name
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def format_number(value: float | None, digits: int = 2) -> str:
    """Format as `number`: "12.34", "−0.50", or a dash for None, NaN and infinity."""
    if value is None or not math.isfinite(value):
        return EN_DASH
    return number(value, digits=digits)


def unbroken(text: str) -> str:
    """Keep a percent sign, and the number of top-1, on the line of the word before."""
    return text.replace(" %", "\u00a0%").replace("op-1 ", "op\u20111 ")


def breakable(name: str) -> Markup:
    """Let a line end after a plus sign, as in the name of a mixture, and not within a word."""
    return Markup(str(escape(name)).replace("+", "+<wbr>"))


def percent(fraction: float | None, digits: int = 1) -> str:
    """Format a fraction as "12.3 %" with a space that does not break."""
    if fraction is None:
        return EN_DASH
    return f"{format_number(100 * fraction, digits)}\u00a0%"
