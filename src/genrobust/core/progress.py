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

# Rates are means over so many seconds. A batch of large images can take a minute.
SPEED_OVER_S = 300.0
# Seconds between lines if standard error is no terminal.
LINE_EVERY_S = 30.0

# The arguments of `Bar.advance`.
Count = Callable[[int, str | None, bool], None]

# The function that counts progress in a unit, by unit. See `counting`.
_counted: dict[str, Count] = {}
# The display on the terminal, which has room for one: bars within bars are further lines of it.
_shown: list[Progress] = []


class Bar:
    """The progress of one job. `advance` may be called from any thread."""

    def __init__(self, description: str, total: int, unit: str, done: int, each: int) -> None:
        self.what = description
        self.total = total
        self.unit = unit
        self.each = each
        self.done = done
        self.found = done
        self.note = ""
        # Times, and how many items this process had made by then.
        self._past = deque([(time.monotonic(), 0)])

    def advance(self, count: int = 1, note: str | None = None, found: bool = False) -> None:
        """Count items as done, or as not done if `count` is negative.

        Args:
            note: A few words to show, such as a loss.
            found: An earlier run made the items, so they do not count for the speed.
        """
        # `found` goes first: otherwise another thread could take the items for made.
        if found:
            self.found += count
        self.done += count
        if note is not None:
            self.note = note

    def line(self) -> str:
        """Return the progress, the speed and the time left in words."""
        item = self.unit if self.each == 1 else "steps"
        return ", ".join([f"{self.what}: {self.done:,} of {self.total:,} {item}", *self.rate()])

    def rate(self) -> list[str]:
        """Return the speed, the time left and the note, as far as they are known."""
        words = []
        now = time.monotonic()
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
    """Show the progress of the block: a bar on a terminal, or else a line every LINE_EVERY_S seconds.

    Args:
        total: The number of items.
        done: The number of items that an earlier run made.
        each: How many of `unit` an item is. A training counts steps, and shows images/s.
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
    """Pass the progress of the block's bars in `unit` to `count` instead of showing them.

    So one bar can show the progress of several processes.
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
        rate = TextColumn("{task.fields[rate]}")
        columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), rate)
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
    if speed < 1:
        return f"{speed:.3f}"
    return f"{speed:.1f}" if speed < 100 else f"{speed:,.0f}"


def about(seconds: float) -> str:
    """Format a time in words: "under 1 s", "about 40 s", "about 12 min", "about 3.5 h", "about 4 days"."""
    if seconds < 1:
        return "under 1 s"
    for length, unit, below in ((1, "s", 90), (60, "min", 90), (3600, "h", 48)):
        if seconds / length < below:
            value = seconds / length
            if unit == "h" and value < 10:
                return f"about {value:.1f} {unit}"
            return f"about {value:.0f} {unit}"
    return f"about {seconds / 86400:.0f} days"
