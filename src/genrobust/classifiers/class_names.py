"""Reads class names from a text file, finds equal names, and matches a classifier's names to a label space."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from genrobust.core import LabelSpace, UserError, bare_name, read_lines


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read class names, one per line, in the order of the logits.

    Raises:
        UserError: The file cannot be read, it has no names, or two of its lines have the same name.
    """
    lines = list(read_lines(path, "--labels"))
    if not lines:
        raise UserError(f"{path} names no class: write one a line, in the order of the logits")
    names = tuple(name for _, name in lines)
    if pair := find_equal_names(names):
        first, second = pair
        raise UserError(
            f"{path}: {names[first]!r} on line {lines[first][0]} and {names[second]!r} on line {lines[second][0]} "
            "are one name, and each logit needs its own: write more behind one, such as crane bird.\n"
            "A classifier of ImageNet's 1,000 classes needs no --labels: they are then called by WordNet id"
        )
    return names


def find_equal_names(names: Sequence[str], classes: Sequence[str] | None = None) -> tuple[int, int] | None:
    """Return the indices of the first two equal names; None if all differ.

    Case and Unicode form do not count: class ids are in lower case, so the dog Cardigan and the garment cardigan would
    be one class. With `classes`, only names that equal one of these are compared.
    """
    first_index: dict[str, int] = {}
    relevant = None if classes is None else {_normalize(name) for name in classes}
    for index, name in enumerate(map(_normalize, names)):
        if first_index.setdefault(name, index) != index and (relevant is None or name in relevant):
            return first_index[name], index
    return None


def columns_of(names: Sequence[str], labels: LabelSpace) -> list[int | None]:
    """Return the index in `names` of each class of `labels`; None for a class without one.

    A name matches a class if it is the class's label name, or else its id. Otherwise the only name matches that equals
    one of these or the shown name up to case, Unicode form, spaces, hyphens and underscores, in which names of folders
    may differ. A name that two classes match belongs to neither.
    """
    by_name, by_bare_name = {name: column for column, name in enumerate(names)}, dict[str, set[int]]()
    for column, name in enumerate(names):
        by_bare_name.setdefault(bare_name(name), set()).add(column)
    columns: list[int | None] = []
    for label in labels.classes:
        own = (label.label_name, label.id)
        exact = next(({by_name[name]} for name in own if name in by_name), set())
        candidates = exact or set().union(*(by_bare_name.get(bare_name(name), set()) for name in (*own, label.name)))
        columns.append(next(iter(candidates)) if len(candidates) == 1 else None)
    uses = Counter(columns)
    return [column if uses[column] == 1 else None for column in columns]


def _normalize(name: str) -> str:
    """Return `name` in the Unicode form NFC, without case."""
    return unicodedata.normalize("NFC", name).casefold()
