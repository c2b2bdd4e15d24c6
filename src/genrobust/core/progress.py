"""The progress of long work: a bar on a terminal, and elsewhere a line now and then, so that a log shows life."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

SPEED_OVER_S = 300.0  # rates are means over so many seconds: a batch of large images alone can take a minute
LINE_EVERY_S = 30.0  # where standard error is no terminal

# Takes how many more are done, a note, and whether they were found done, which says nothing of the speed.
Count = Callable[[int, str | None, bool], None]

_counted: dict[str, Count] = {}  # by unit: who counts what this process makes, see `counting`
_shown: list[Progress] = []  # the display on the terminal, which allows one: bars within bars are its further lines


class Bar:
    """The progress of one job. `advance` may be called from any thread."""

    def __init__(self, description: str, total: int, unit: str, done: int, each: int) -> None:
        self.what, self.total, self.unit, self.each = description, total, unit, each
        self.done, self.found, self.note = done, done, ""
        self._past = deque([(time.monotonic(), 0)])  # and how many this process had made by then

    def advance(self, count: int = 1, note: str | None = None, found: bool = False) -> None:
        """Count `count` items more as done; fewer, where it is negative. `note` is a few words, such as a loss.

        Items that were `found`, since an earlier run made them, say nothing of the speed.
        """
        self.found += count if found else 0  # first: who looks in between takes none of them for made
        self.done += count
        if note is not None:
            self.note = note

    def line(self) -> str:
        """How far it is, how fast and how long yet, in words."""
        item = self.unit if self.each == 1 else "steps"
        return ", ".join([f"{self.what}: {self.done:,} of {self.total:,} {item}", *self.rate()])

    def rate(self) -> list[str]:
        """How fast it is, how long yet, and the note, as far as they are known."""
        now, words = time.monotonic(), list[str]()
        made = max(0, self.done - self.found)
        self._past.append((now, made))
        while now - self._past[0][0] > SPEED_OVER_S:
            self._past.popleft()
        then, before = self._past[0]
        if made > before and now > then:
            speed = (made - before) / (now - then)
            words.append(f"{_format_speed(speed * self.each)} {self.unit}/s")
            words.append(f"{about(max(0, self.total - self.done) / speed)} left")
        return [*words, self.note] if self.note else words


class _Forwarding(Bar):
    """A bar whose items another one counts."""

    def __init__(self, count: Count, done: int, each: int) -> None:
        self._count, self._each = count, each
        count(done * each, None, True)

    def advance(self, count: int = 1, note: str | None = None, found: bool = False) -> None:
        self._count(count * self._each, note, found)


@contextmanager
def progress_bar(description: str, total: int, unit: str = "images", done: int = 0, each: int = 1) -> Iterator[Bar]:
    """Show the progress of the block over `total` items, of which `done` are there already.

    An item counts as `each` of `unit` in the rate: a training of batches counts steps and shows images/s. Where
    standard error is no terminal, a line is written every LINE_EVERY_S seconds. Nothing stays when the block ends.
    """
    if unit in _counted:
        yield _Forwarding(_counted[unit], done, each)
        return
    bar = Bar(description, total, unit, done, each)
    with ExitStack() as stack:
        show = stack.enter_context(_terminal_display(bar) if sys.stderr.isatty() else _line_display(bar))
        ended = threading.Event()

        def repeat() -> None:
            while not ended.wait(0.2):
                show()

        shower = threading.Thread(target=repeat, name="progress", daemon=True)
        shower.start()
        try:
            yield bar
        finally:
            ended.set()
            shower.join()


@contextmanager
def counting(unit: str, count: Count) -> Iterator[None]:
    """Pass progress of the block's bars in `unit` to `count`, so that one bar can show that of several processes.

    The bars themselves are not shown.
    """
    before = _counted.get(unit)
    _counted[unit] = count
    try:
        yield
    finally:
        if before is None:
            del _counted[unit]
        else:
            _counted[unit] = before


@contextmanager
def _terminal_display(bar: Bar) -> Iterator[Callable[[], None]]:
    outermost = not _shown
    if outermost:
        what, rate = TextColumn("{task.description}"), TextColumn("{task.fields[rate]}")
        columns = what, BarColumn(20), MofNCompleteColumn(), rate
        _shown.append(Progress(*columns, console=Console(stderr=True, emoji=False), transient=True))
        _shown[0].start()
    display = _shown[0]
    id = display.add_task(escape(bar.what), total=bar.total, completed=bar.done, rate="")
    try:
        yield lambda: display.update(id, completed=bar.done, rate=escape(", ".join(bar.rate())))
    finally:
        display.remove_task(id)
        if outermost:
            _shown.clear()
            display.stop()


@contextmanager
def _line_display(bar: Bar) -> Iterator[Callable[[], None]]:
    last = time.monotonic()

    def show() -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            print(bar.line(), file=sys.stderr, flush=True)

    yield show


def _format_speed(speed: float) -> str:
    return f"{speed:,.{0 if speed >= 100 else 1 if speed >= 1 else 3}f}"


def about(seconds: float) -> str:
    """Format a time in words: "under 1 s", "about 40 s", "about 12 min", "about 3.5 h", "about 4 days"."""
    if seconds < 1:
        return "under 1 s"
    for length, unit, below in ((1, "s", 90), (60, "min", 90), (3600, "h", 48)):
        if seconds / length < below:
            value = seconds / length
            return f"about {value:.1f} {unit}" if unit == "h" and value < 10 else f"about {value:.0f} {unit}"
    return f"about {seconds / 86400:.0f} days"
