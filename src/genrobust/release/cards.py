"""Cards for the Hugging Face hub, from the templates of this room: a header of metadata, and escaped Markdown."""

from __future__ import annotations

from typing import Any

from huggingface_hub import CardData, RepoCard

from genrobust import __version__
from genrobust.core import templates
from genrobust.report import count, escaped, fenced


class Raw(str):
    """A text that goes into the card as it is."""

    __slots__ = ()


def render_card(kind: type[RepoCard], template: str, data: CardData, **values: Any) -> str:
    """Render `template` below the header `data`; every value is escaped, unless it is `raw` or a code block."""
    environment = templates(
        "release",
        finalize=lambda value: value if isinstance(value, Raw) else escaped(str(value)),
        keep_trailing_newline=True,
    )
    environment.filters |= {"raw": Raw, "thousands": "{:,}".format}
    environment.globals |= {"count": count, "version": __version__}
    environment.globals["fenced"] = lambda code, language: Raw(fenced(code, language))
    body = environment.get_template(template).render(**values)
    return str(kind(f"---\n{data.to_yaml()}\n---\n{body}"))  # which refuses a header that it cannot read
