"""Lists of classes: what the key `data.classes` chooses among those of a source."""

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
        find: Returns the id of a class by what a list or a line calls it; raises UserError for no class.
        sets: What a text may be that is no file, for messages.

    Raises:
        UserError: A name is no class, a class is named twice, or there are not so many. The message names the key, or
            the file and its line.
    """
    if isinstance(wanted, ClassSample):
        if wanted.count > len(ids):
            raise UserError(f"{KEY}.count: there are {len(ids)} classes, not {wanted.count}: lower it")
        return sorted(ids, key=lambda id: hashed_seed(wanted.seed, id))[: wanted.count]
    seen: dict[str, str] = {}
    for where, name in _listed(Path(wanted), sets) if isinstance(wanted, str) else ((KEY, name) for name in wanted):
        try:
            id = find(name)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        if id in seen:
            raise UserError(f"{where}: {id} is listed before, as {seen[id]!r}: list it once")
        seen[id] = name
    return [*seen]


def _listed(path: Path, sets: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the place and the text of each line of a file that is not empty; " #" begins a comment."""
    if not path.exists():
        known = ", ".join(("all", *sets))
        raise UserError(f"{KEY}: there is no file {path}: give a list of classes, a text file of them, {known}")
    for number, line in read_lines(path, KEY):
        if text := f" {line}".partition(" #")[0].strip():
            yield f"{path}, line {number}", text
