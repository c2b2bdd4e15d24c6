"""Shows answers as a short table on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from rich.markup import escape
from rich.table import Table

from genrobust.classifiers import Answer, OpenClassifier
from genrobust.core import count
from genrobust.tools.predict.class_names import class_names

ROWS = 40  # images that are listed


def answers_table(model: OpenClassifier, answers: Iterable[Answer], top: int) -> tuple[int, Table, list[str]]:
    """Return the number of images that cannot be read, a table of the first images, and lines below it."""
    names = class_names(model)
    table = Table()
    table.add_column("file", overflow="fold")
    for rank in range(1, min(top, len(names)) + 1):
        number = "" if rank == 1 else f" {rank}"
        table.add_column(f"class{number}", overflow="fold")
        table.add_column("%", justify="right")
    counts: Counter[str] = Counter()
    total = 0
    unreadable = 0
    for answer in answers:
        total += 1
        if answer.error:
            unreadable += 1
        else:
            counts[names[answer.ranking[0]]] += 1
        if total <= ROWS:
            table.add_row(*map(escape, _cells(answer, names)))
    return unreadable, table, list(_summary(counts, total))


def _cells(answer: Answer, names: list[str]) -> Iterator[str]:
    yield answer.path
    if answer.error:
        yield answer.error
    for label, probability in zip(answer.ranking, answer.probabilities, strict=True):
        yield names[label]
        yield f"{100 * probability:.1f}"


def _summary(counts: Counter[str], total: int) -> Iterator[str]:
    """Yield a line that counts images by class if there are several, and one about images that are not listed."""
    if total > 1:
        each = ", ".join(f"{number:,} {name}" for name, number in counts.most_common())
        yield f"{count(total, 'image')}: {each}"
    if total > ROWS:
        yield f"{total - ROWS:,} more images: all of them with --out FILE.csv, or on a page with --out DIR"
