"""Names as people write them: what two spellings of one have in common, and which known names are near a wrong one."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence


def bare_name(text: str) -> str:
    """`text` without what two spellings of one name may differ in: case, Unicode form, spaces, hyphens, underscores."""
    return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFC", text)).casefold()


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three of the `known` names that are like `name`, the nearest first."""
    by_bare_name = {bare_name(text): text for text in known}
    return [by_bare_name[near] for near in difflib.get_close_matches(bare_name(name), by_bare_name, n=3)]


def perhaps(near: Sequence[str]) -> str:
    """Return a suggestion of the `near` names, in parentheses; "" for none."""
    return f" (perhaps {' or '.join(near)}?)" if near else ""
