"""Words for messages: what two spellings of a name have in common, known names near a wrong one, and plurals."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence


def bare_name(text: str) -> str:
    """`text` without what two spellings of one name may differ in: case, Unicode form, spaces, hyphens, underscores."""
    return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFC", text)).casefold()


def count(number: int, noun: str) -> str:
    """Write how many: "1 seed", "3 classes", "1,300 images"."""
    plural = f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else re.sub(r"(?<![aeiou])y$", "ie", noun) + "s"
    return f"{number:,} {noun if number == 1 else plural}"


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three of the `known` names that are like `name`, the nearest first."""
    by_bare_name = {bare_name(text): text for text in known}
    return [by_bare_name[near] for near in difflib.get_close_matches(bare_name(name), by_bare_name, n=3)]


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """Suggest the `known` names that are nearest to `name`; `otherwise` where none is near."""
    near = near_names(name, known)
    return f"did you mean {' or '.join(near)}?" if near else otherwise


def perhaps(near: Sequence[str]) -> str:
    """Return a suggestion of the `near` names, in parentheses; "" for none."""
    return f" (perhaps {' or '.join(near)}?)" if near else ""
