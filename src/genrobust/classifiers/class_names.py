"""Read class names from a text file, find equal names, and match a classifier's names to a label space."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from genrobust.core import ClassLabel, LabelSpace, UserError, bare_name, read_lines


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read class names, one per line, in the order of the logits."""
    lines = list(read_lines(path, "--labels"))
    if not lines:
        raise UserError(f"{path} names no class: write one a line, in the order of the logits")
    names = tuple(name for _, name in lines)
    pair = find_equal_names(names)
    if pair is not None:
        first, second = pair
        raise UserError(
            f"{path}: {names[first]!r} on line {lines[first][0]} and {names[second]!r} on line {lines[second][0]} "
            "are one name, and each logit needs its own: write more behind one, such as crane bird.\n"
            "A classifier of ImageNet's 1,000 classes needs no --labels: they are then called by WordNet id"
        )
    return names


def find_equal_names(names: Sequence[str], classes: Sequence[str] | None = None) -> tuple[int, int] | None:
    """Return the indices of the first two equal names. None if all differ.

    Case and Unicode form do not count: class ids are in lower case, so the dog Cardigan and the garment cardigan would
    be one class. With `classes`, only names that equal one of these are compared.
    """
    first_index: dict[str, int] = {}
    relevant = None if classes is None else {_normalize(name) for name in classes}
    for index, name in enumerate(map(_normalize, names)):
        first = first_index.setdefault(name, index)
        if first != index and (relevant is None or name in relevant):
            return first, index
    return None


def columns_of(names: Sequence[str], labels: LabelSpace) -> list[int | None]:
    """Return the index in `names` of each class of `labels`. None for a class without one.

    A name matches a class if it is the class's label name, or else its id. Otherwise, names are compared with these and
    the shown name without case, Unicode form, spaces, hyphens and underscores, in which names of folders may differ. A
    class that several names match, and a name that several classes match, have no match.
    """
    by_name = {name: column for column, name in enumerate(names)}
    by_bare_name: dict[str, set[int]] = {}
    for column, name in enumerate(names):
        by_bare_name.setdefault(bare_name(name), set()).add(column)
    columns = [_column_of(label, by_name, by_bare_name) for label in labels.classes]
    uses = Counter(columns)
    for number, found in enumerate(columns):
        if uses[found] > 1:
            columns[number] = None
    return columns


def _column_of(label: ClassLabel, by_name: dict[str, int], by_bare_name: dict[str, set[int]]) -> int | None:
    for name in (label.label_name, label.id):
        if name in by_name:
            return by_name[name]
    candidates: set[int] = set()
    for name in (label.label_name, label.id, label.name):
        candidates |= by_bare_name.get(bare_name(name), set())
    return candidates.pop() if len(candidates) == 1 else None


def _normalize(name: str) -> str:
    """Return `name` in the Unicode form NFC, without case."""
    return unicodedata.normalize("NFC", name).casefold()
