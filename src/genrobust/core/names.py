"""Words for messages: names without their spelling variants, similar names, and plurals."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence


def bare_name(text: str) -> str:
    """Remove differences between spellings of a name: case, Unicode form, spaces, hyphens, underscores."""
    return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFC", text)).casefold()


def count(number: int, noun: str) -> str:
    """Return a number with its noun: "1 seed", "3 classes", "1,300 images"."""
    if number == 1:
        return f"1 {noun}"
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{number:,} {noun}es"
    return f"{number:,} {re.sub(r'(?<![aeiou])y$', 'ie', noun)}s"


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three of the `known` names that are similar to `name`, the nearest first."""
    by_bare_name = {bare_name(text): text for text in known}
    matches = difflib.get_close_matches(bare_name(name), by_bare_name, n=3)
    return [by_bare_name[match] for match in matches]


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """Suggest the `known` names that are nearest to `name`. Without any, return `otherwise`."""
    near = near_names(name, known)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return otherwise


def perhaps(near: Sequence[str]) -> str:
    """Suggest the `near` names, in parentheses. Empty without any."""
    return f" (perhaps {' or '.join(near)}?)" if near else ""
