"""Cards for the Hugging Face hub: huggingface_hub's header, and escaped Markdown from the templates of this tool."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import CardData, RepoCard, try_to_load_from_cache
from huggingface_hub.constants import REPOCARD_NAME
from markupsafe import Markup

from genrobust import __version__
from genrobust.core import EMBEDDED, embedded, templates
from genrobust.report import count, escaped, fenced, number, span


def render_card(template: str, data: CardData, **values: Any) -> str:
    """Render `template` below the header `data`; every value is escaped, unless it is `safe` or a code block."""
    environment = templates("tools/export", finalize=_escape, keep_trailing_newline=True)
    environment.filters["thousands"] = "{:,}".format
    environment.globals |= {"count": count, "number": number, "span": span, "version": __version__}
    environment.globals["fenced"] = lambda code, language: Markup(fenced(code, language))
    return f"---\n{data}\n---\n{environment.get_template(template).render(**values)}"


def _escape(value: Any) -> str:
    return value if isinstance(value, Markup) else escaped(str(value))


def stated_license(generator: str) -> str:
    """Return the license that the card of a generator on this machine states, a folder or a hub id; "" for none."""
    folder = embedded("generator") if generator == EMBEDDED else Path(generator)
    with suppress(OSError, ValueError, yaml.YAMLError):  # a name that is no id of the hub is a ValueError
        card = folder / REPOCARD_NAME if folder.exists() else try_to_load_from_cache(generator, REPOCARD_NAME)
        if isinstance(card, str | Path):
            header = RepoCard.load(card).data
            return str(header.get("license_name") or header.get("license") or "")
    return ""
