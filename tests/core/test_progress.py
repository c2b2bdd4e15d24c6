"""Progress: what is counted where, and what a log shows where there is no terminal."""

import re
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from genrobust.core import Bar, about, counting, progress, progress_bar


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)


@pytest.fixture
def clock(monkeypatch):
    """The clock of bars, which stands still at `now`."""
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(progress, "time", clock)
    return clock


def wait_for(capsys, word):
    """What standard error holds once `word` is in it; fails after a minute."""
    said, until = "", time.monotonic() + 60
    while word not in said:
        assert time.monotonic() < until, said
        time.sleep(0.01)
        said += capsys.readouterr().err
    return said


def test_a_log_shows_how_far_how_fast_and_how_long_yet(often, capsys):
    with progress_bar("drawing", 400) as bar:
        bar.advance(100, note="loss 0.5")
        said = wait_for(capsys, "left")
    line = next(line for line in said.splitlines() if "left" in line)
    assert line.startswith("drawing: 100 of 400 images, ")
    assert re.search(r" images/s, (about|under) \d+ s left", line) and line.endswith("loss 0.5")


def test_short_work_writes_nothing(capsys):
    with progress_bar("drawing", 4) as bar:
        bar.advance(4)
    assert capsys.readouterr().err == ""


def test_steps_are_counted_and_images_are_rated(clock):
    bar = Bar("training", 10, "images", 0, 128)
    clock.now += 2
    bar.advance(5)
    assert bar.line().split(", ") == ["training: 5 of 10 steps", "320 images/s", "about 2 s left"]


def test_what_an_earlier_run_made_says_nothing_of_the_speed(clock):
    bar = Bar("training", 1000, "images", 0, 1)
    clock.now += 2
    bar.advance(900, found=True)
    assert bar.line() == "training: 900 of 1,000 images"
    bar.advance(10)
    assert bar.line().split(", ") == ["training: 910 of 1,000 images", "5.0 images/s", "about 18 s left"]


def test_the_one_bar_of_several_counts_what_they_make_of_its_unit(capsys):
    seen = []
    with counting("images", lambda *said: seen.append(said)):
        with progress_bar("training", 10, "images", done=2, each=4) as bar:
            bar.advance(3, "loss 1")
        with progress_bar("listing", 10, "files") as other:
            other.advance(10)
    assert seen == [(8, None, True), (12, "loss 1", False)]


def test_bars_within_bars_share_the_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress_bar("training", 10) as outer, progress_bar("packing", 5, "packed images") as inner:
        inner.advance(5)
        outer.advance(10)
    assert progress._shown == []
    for thread in [t for t in threading.enumerate() if "Refresh" in type(t).__name__]:  # rich's own
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(40, "about 40 s"), (720, "about 12 min"), (12_600, "about 3.5 h"), (4 * 86_400, "about 4 days")],
)
def test_durations_in_words(seconds, words):
    assert about(seconds) == words
