"""How jobs of other processes fail, and how far they are."""

import errno
import pickle
from dataclasses import replace

import pytest

from genrobust.core import Busy, DiskFull, GenrobustError, MissingPackage, OutOfMemory, UserError, progress_bar
from genrobust.study.executors.workers import BadLuck, Call, Progress, failure_of, root_cause


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Busy("in use"), Busy),
        (UserError("wrong"), UserError),
        (MissingPackage("ray", "ray", "--executor ray"), UserError),
        (DiskFull("full"), DiskFull),
        (OSError(errno.ENOSPC, "full", "a"), DiskFull),
        (OSError(errno.EACCES, "forbidden", "a"), UserError),
        (GenrobustError("failed"), GenrobustError),
        (OutOfMemory("no room"), BadLuck),
        (MemoryError(), BadLuck),
        (KeyError("x"), GenrobustError),
    ],
)
def test_a_failure_keeps_its_kind_on_its_way(error, kind):
    failure = pickle.loads(pickle.dumps(failure_of(error)))
    assert isinstance(failure, kind) and failure.exit_code == kind("").exit_code
    assert "in another process" in failure.__notes__[0]


def test_of_the_failures_of_a_group_the_cause_is_reported():
    """When one dies or fails, the connections of the others break."""
    broken, full, wrong = map(failure_of, (RuntimeError("reset"), DiskFull("no room"), UserError("no such image")))
    died = BadLuck("its worker died")
    assert root_cause([broken, full]) is full
    assert root_cause([broken, full, died]) is died
    assert root_cause([broken, died, wrong, full]) is wrong
    assert root_cause([broken]) is broken


class Told:
    """What workers have told, by hand."""

    def __init__(self):
        self.counts = []

    def receive(self, running):
        return self.counts


def test_what_failed_is_taken_back_and_what_was_found_gives_no_speed():
    told = Told()
    with progress_bar("drawing", 30) as bar:
        progress = Progress(bar, told)
        first, second = progress.begin(10), progress.begin(10)
        told.counts = [(first, 4, 3), (second, 99, 0)]
        progress.update()
        assert (bar.done, bar.found) == (14, 3)
        progress.ended(second, failed=True)
        progress.ended(first)
        progress.update()
        assert (bar.done, bar.found) == (10, 3)


class Nothing:
    """Loads what does nothing."""

    def __call__(self):
        return len


def test_a_node_needs_no_common_folder_where_the_output_is_at_a_url(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    call = Call(pickle.dumps(Nothing()), "images", (), 1, Told(), 1, str(tmp_path / "not here"), anywhere=True)
    assert call() >= 0
    failure = replace(call, anywhere=False)()
    assert isinstance(failure, UserError) and call.folder in str(failure)
