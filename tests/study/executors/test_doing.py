"""How jobs of other processes fail, and how far they are."""

import errno
import pickle

import pytest

from genrobust.core import Busy, DiskFull, GenrobustError, MissingPackage, OutOfMemory, UserError, progress_bar
from genrobust.study.executors.doing import (
    LISTED,
    BadLuck,
    Counted,
    Member,
    Shown,
    failure_of,
    raise_failed,
    root_cause,
)
from genrobust.study.executors.jobs import Job


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
def test_a_failure_keeps_its_kind_on_its_way(error, kind, tmp_path):
    failure = pickle.loads(pickle.dumps(failure_of(error)))
    assert isinstance(failure, kind) and failure.exit_code == kind("").exit_code
    member = Member(0, 2, tmp_path, "gloo")
    assert member.failure() is None
    member.failed(error)
    assert (type(member.failure()), str(member.failure())) == (type(failure), str(failure))
    assert "in another process" in member.failure().__notes__[0]


def test_of_the_failures_of_a_group_the_cause_is_reported():
    """When one dies or fails, the connections of the others break."""
    broken, full, wrong = map(failure_of, (RuntimeError("reset"), DiskFull("no room"), UserError("no such image")))
    died = BadLuck("its worker died")
    assert root_cause([broken, full]) is full
    assert root_cause([broken, full, died]) is died
    assert root_cause([broken, died, wrong, full]) is wrong
    assert root_cause([broken]) is broken


@pytest.mark.parametrize(("failure", "kind"), [(DiskFull("full"), DiskFull), (BadLuck("died"), GenrobustError)])
def test_failed_jobs_are_listed_up_to_a_number(failure, kind):
    raise_failed("drawing", [])
    with pytest.raises(kind) as error:
        raise_failed("drawing", [(Job(n, f"shard {n}", 10), failure) for n in range(LISTED + 5)])
    lines = str(error.value).splitlines()
    assert "25" in lines[0] and "shard 0" in lines[1] and "5 more" in lines[-2]


def test_what_failed_is_taken_back_and_what_was_found_gives_no_speed():
    counts = {}
    with progress_bar("drawing", 30) as bar:
        shown = Shown(bar, lambda: counts)
        first, second = shown.begin(10), shown.begin(10)
        counts |= {first: Counted(4, 3), second: Counted(99, 0)}
        shown.update()
        assert (bar.done, bar.found) == (14, 3)
        shown.failed(second)
        shown.update()
        assert (bar.done, bar.found) == (4, 3)
        shown.ended(first)
        assert (bar.done, bar.found) == (10, 3)
