"""The one progress bar of long work: how far, how fast, how long yet; on a terminal's standard error alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

SPEED_OVER_S = 300.0  # rates are means over so many seconds: a batch of large images alone can take a minute

_told: dict[str, Callable[[int], None]] = {}  # by unit: who counts what this process makes, see `counting`


class Bar:
    """A running bar. `note` is a few words beside it, such as a loss."""

    def __init__(self, progress: Progress, task: int, tell: Callable[[int], None]) -> None:
        self._progress, self._task, self._tell = progress, progress.tasks[task].id, tell

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """`count` items more are done; fewer, where it is negative."""
        self._progress.update(self._task, advance=count)
        self._tell(count)
        if note is not None:
            self._progress.update(self._task, note=note)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = (task.speed or 0.0) * task.fields["each"]
        digits = 0 if speed >= 100 else 1 if speed >= 1 else 3
        return Text(f"{speed:.{digits}f} {task.fields['unit']}/s" if speed else "", style="progress.data.speed")


@contextmanager
def progress_bar(what: str, total: int, unit: str = "images", done: int = 0, each: int = 1) -> Iterator[Bar]:
    """A bar over `total` items of which `done` are there already; an item counts as `each` of `unit` in the rate.

    A training of batches, for instance, counts steps and tells images/s. Nothing is drawn where standard error is no
    terminal, and nothing stays when the block ends.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    bar = Progress(
        *columns,
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
        speed_estimate_period=SPEED_OVER_S,
    )
    counter = _told.get(unit, lambda count: None)
    counter(done * each)
    with bar:
        bar.add_task(what, total=total, completed=done, unit=unit, each=each, note="")
        yield Bar(bar, 0, lambda count: counter(count * each))


@contextmanager
def counting(unit: str, tell: Callable[[int], None]) -> Iterator[None]:
    """Tell, as it goes, how many of `unit` the bars of the block count: for the one bar of several processes."""
    _told[unit] = tell
    try:
        yield
    finally:
        del _told[unit]
