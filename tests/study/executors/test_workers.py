"""How calls fail, and how far they are."""

import errno
import pickle

import pytest
from scribe import Scribe

from genrobust.core import Busy, DiskFull, GenrobustError, NewerVersion, OutOfMemory, UserError, progress_bar
from genrobust.study.executors.calls import Call, Files, portable, run_call
from genrobust.study.executors.workers import Progress


class Local(Exception):
    """An error that only its own process can make."""

    def __init__(self, first, second):
        super().__init__("both")


@pytest.mark.parametrize(
    "error",
    [
        Busy("in use"),
        UserError("wrong"),
        NewerVersion("is new"),
        DiskFull("full"),
        OSError(errno.ENOSPC, "full", "a"),
        GenrobustError("failed"),
        OutOfMemory("no room"),
        MemoryError(),
        KeyError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_keeps_its_kind_and_its_words_on_its_way(error):
    failure = pickle.loads(pickle.dumps(portable(error)))
    assert type(failure) is type(error) and str(failure) == str(error)
    assert "in another process" in failure.__notes__[0]


def test_of_a_failure_that_cannot_travel_the_words_do():
    failure = portable(Local(1, 2))
    assert type(failure) is GenrobustError and str(failure) == "unexpected Local: both"
    assert "in another process" in failure.__notes__[0]


def test_what_failed_is_taken_back_and_what_was_found_gives_no_speed():
    with progress_bar("drawing", 30) as bar:
        progress = Progress(bar)
        progress.show(1, 4, 3)
        progress.show(2, 10, 0)
        assert (bar.done, bar.found) == (14, 3)
        progress.show(2, 0, 0)
        progress.show(1, 10)
        assert (bar.done, bar.found) == (10, 3)


def test_a_node_needs_no_common_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    call = Call(
        pickle.dumps(Scribe(tmp_path)), "images", ("write:a",), 1, Files(tmp_path), 1, str(tmp_path / "not here")
    )
    assert run_call(call) >= 0
    assert (tmp_path / "done-a").exists()
