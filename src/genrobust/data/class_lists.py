"""The key `data.classes`: which of the classes of a source a study takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from genrobust.core import UserError, hashed_seed, read_lines
from genrobust.recipe import ClassSample

KEY = "data.classes"


def choose_classes(
    wanted: ClassSample | Sequence[str] | str, ids: Sequence[str], find: Callable[[str], str], sets: Sequence[str] = ()
) -> list[str]:
    """Return the ids that the key `data.classes` chooses among `ids`.

    Args:
        find: Returns the id of a class by its word in a list or a line. Raises UserError if there is no such class.
        sets: Words that `wanted` may be if it is no file, for messages.
    """
    if isinstance(wanted, ClassSample):
        if wanted.count > len(ids):
            raise UserError(f"{KEY}.count: there are {len(ids)} classes, not {wanted.count}: lower it")
        return sorted(ids, key=lambda id: hashed_seed(wanted.seed, id))[: wanted.count]
    listed = _read_list(Path(wanted), sets) if isinstance(wanted, str) else [(KEY, word) for word in wanted]
    word_of: dict[str, str] = {}
    for where, word in listed:
        try:
            id = find(word)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        if id in word_of:
            raise UserError(f"{where}: {id} is listed before, as {word_of[id]!r}: list it once")
        word_of[id] = word
    return list(word_of)


def _read_list(path: Path, sets: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the place and the text of each line that is not empty. " #" begins a comment."""
    if not path.exists():
        known = ", ".join(("all", *sets))
        raise UserError(f"{KEY}: there is no file {path}: give a list of classes, a text file of them, {known}")
    for number, line in read_lines(path, KEY):
        text = f" {line}".partition(" #")[0].strip()
        if text:
            yield f"{path}, line {number}", text
