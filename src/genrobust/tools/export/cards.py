"""Cards for the Hugging Face hub from the templates of this tool: huggingface_hub's header, and escaped Markdown."""

from __future__ import annotations

from typing import Any

from huggingface_hub import CardData
from markupsafe import Markup

from genrobust import __version__
from genrobust.core import templates
from genrobust.report import count, escaped, fenced


def render_card(template: str, data: CardData, **values: Any) -> str:
    """Render `template` below the header `data`; every value is escaped, unless it is `safe` or a code block."""
    environment = templates("tools/export", finalize=_escape, keep_trailing_newline=True)
    environment.filters["thousands"] = "{:,}".format
    environment.globals |= {"count": count, "version": __version__}
    environment.globals["fenced"] = lambda code, language: Markup(fenced(code, language))
    return f"---\n{data}\n---\n{environment.get_template(template).render(**values)}"


def _escape(value: Any) -> str:
    return value if isinstance(value, Markup) else escaped(str(value))
