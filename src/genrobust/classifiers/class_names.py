"""The names of a classifier's classes in a text file, and which of them cannot be told apart."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from genrobust.core import LabelSpace, UserError, bare_name, read_lines


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read a class a line, in the order of the logits.

    Raises:
        UserError: The file cannot be read or names no class, or two lines name one class.
    """
    lines = list(read_lines(path, "--labels"))
    if not lines:
        raise UserError(f"{path} names no class: write one a line, in the order of the logits")
    names = tuple(name for _, name in lines)
    if twin := find_equal_names(names):
        one, two = twin
        raise UserError(
            f"{path}: {names[one]!r} on line {lines[one][0]} and {names[two]!r} on line {lines[two][0]} are one name, "
            "and each logit needs its own: write more behind one, such as crane bird.\n"
            "A classifier of ImageNet's 1,000 classes needs no --labels: they are then called by WordNet id"
        )
    return names


def find_equal_names(names: Sequence[str], wanted: Sequence[str] | None = None) -> tuple[int, int] | None:
    """Return the first two places in `names` with the same name but for case and Unicode form, None if all differ.

    Class ids are in lower case, so that the dog Cardigan and the garment cardigan would be one. With `wanted`, only
    names that are like one of these count.
    """
    first: dict[str, int] = {}
    among = None if wanted is None else {_plain(name) for name in wanted}
    for place, name in enumerate(map(_plain, names)):
        if first.setdefault(name, place) != place and (among is None or name in among):
            return first[name], place
    return None


def columns_of(names: Sequence[str], labels: LabelSpace) -> list[int | None]:
    """Return which of a classifier's `names` each class of `labels` has; None where it has none.

    That is the class's id, or else the only name that differs from its id or its shown name by case, Unicode form,
    spaces, hyphens and underscores alone, as the names of folders may.
    """
    exact, alike = {name: column for column, name in enumerate(names)}, dict[str, set[int]]()
    for column, name in enumerate(names):
        alike.setdefault(bare_name(name), set()).add(column)
    found: list[int | None] = []
    for of in labels.classes:
        like = alike.get(bare_name(of.id), set()) | alike.get(bare_name(of.name), set())
        perhaps = {exact[of.id]} if of.id in exact else like
        found.append(next(iter(perhaps)) if len(perhaps) == 1 else None)
    times = Counter(found)
    return [column if times[column] == 1 else None for column in found]


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
