"""Retries and failures of jobs, with threads in place of processes."""

import errno
import logging
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from genrobust.core import Busy, DiskFull, GenrobustError, MissingPackage, OutOfMemory, UserError, progress_bar
from genrobust.study.executors import pool
from genrobust.study.executors.pool import HOPELESS, LISTED, TRIES, BadLuck, Counted, WorkerPool, failure_of
from genrobust.study.jobs import Job

NO_GOOD = GenrobustError("no good")


class Thread:
    """A worker that says of the job n how `fails(n)` tells, and in `done` who did what."""

    def __init__(self, fails, done, number):
        self._fails, self._done, self._number = fails, done, number
        self._pool = ThreadPoolExecutor(1)

    def submit(self, key):
        return self._pool.submit(self._do, key)

    def _do(self, key):
        self._done.append((self._number, key))
        return self._fails(key)

    def count(self):
        return Counted()

    def why_died(self, error):
        return f"it died of {error}"

    def stop(self):
        return


def run(fails, jobs, workers=1, on_cluster=True):
    """Have jobs done, and reported; returns which worker tried which of them, in turn."""
    done = []
    numbers = iter(range(workers))
    with progress_bar("drawing", 10 * jobs) as bar:
        made = WorkerPool("drawing", bar, on_cluster)
        try:
            made.run(
                [Job(n, f"shard {n}", 10) for n in range(jobs)],
                lambda: Thread(fails, done, next(numbers)),
                lambda: workers,
            )
            made.report()
        except GenrobustError as error:
            error.add_note(str(done))
            raise
    return done


def in_turn(outcomes):
    rest = iter(outcomes)
    return lambda key: next(rest)


def test_jobs_are_done_in_their_order_and_each_once():
    assert run(lambda key: None, 3) == [(0, 0), (0, 1), (0, 2)]


def test_what_failed_is_tried_by_another_worker_first(caplog):
    failed = set()

    def once(key):
        return None if key in failed else failed.add(key) or NO_GOOD

    with caplog.at_level(logging.WARNING):
        done = run(once, 2, workers=2)
    assert sorted(done) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert sorted(caplog.messages) == [f"shard {n}: no good; it is tried again" for n in (0, 1)]


class Placed(Thread):
    """A worker that waits for one of `places` to start, and takes it until it is stopped, as an actor of Ray's."""

    def __init__(self, places, done, number):
        super().__init__(lambda key: None, done, number)
        self._places, self._has_place = places, False

    def _do(self, key):
        if not self._has_place:
            self._has_place = self._places.acquire(timeout=20)  # far more than the others need
            assert self._has_place, "nobody makes room"
        return super()._do(key)

    def stop(self):
        if self._has_place:
            self._has_place = False
            self._places.release()


def test_where_a_place_is_lost_no_idle_worker_keeps_the_one_that_another_waits_for():
    done, places, numbers = [], threading.Semaphore(1), iter(range(9))  # of the two places that `room` tells of first
    with progress_bar("drawing", 30) as bar:
        made = WorkerPool("drawing", bar, on_cluster=True)
        jobs = [Job(n, f"shard {n}", 10) for n in range(3)]
        made.run(jobs, lambda: Placed(places, done, next(numbers)), lambda: 1 if done else 2)
        made.report()
    assert sorted(key for _, key in done) == [0, 1, 2]
    assert len({number for number, _ in done}) == 2, "the one that waited did its job itself"


def test_what_fails_for_good_is_listed_with_its_reason_when_all_else_is_done():
    with pytest.raises(GenrobustError, match="drawing: 2 of the jobs failed") as error:
        run(lambda key: NO_GOOD if key else None, 3)
    lines = str(error.value).splitlines()
    assert lines[1:3] == [f"  shard {n}: no good (tries: {TRIES})" for n in (1, 2)]
    assert "completed jobs are kept: rerun" in lines[3]
    assert type(error.value) is GenrobustError
    assert error.value.__cause__ is NO_GOOD


@pytest.mark.parametrize(
    ("failure", "on_cluster", "tries", "kind"),
    [
        (DiskFull("no room"), True, TRIES, DiskFull),
        (DiskFull("no room"), False, 1, DiskFull),
        (UserError("no such folder"), True, 1, UserError),
        (UserError("no such folder"), False, 1, UserError),
        (NO_GOOD, False, 1, GenrobustError),
        (BadLuck("it died"), False, TRIES, GenrobustError),
    ],
)
def test_what_ends_the_work_and_what_is_tried_again(failure, on_cluster, tries, kind):
    with pytest.raises(kind, match=str(failure)) as error:
        run(lambda key: failure, 1, on_cluster=on_cluster)
    assert type(error.value) is kind
    assert error.value.__notes__[-1] == str([(0, 0)] * tries)


def test_what_a_dead_node_still_holds_is_tried_again_later(monkeypatch):
    """A shared disk frees its locks some time after."""
    monkeypatch.setattr("genrobust.study.executors.pool.BUSY_S", 0.2)
    busy = failure_of(Busy("another process is writing to it"))
    assert run(in_turn([BadLuck("its node died"), busy, None]), 1) == [(0, 0)] * 3
    with pytest.raises(Busy, match="another process is writing"):
        run(lambda key: busy, 1, on_cluster=False)


class Resumed(Thread):
    """A worker that found 8 of 10 items done and, once `seen`, makes the other two."""

    def __init__(self, seen, number):
        super().__init__(lambda key: seen.wait(60) or NO_GOOD, [], number)
        self._seen = seen

    def _do(self, key):
        return None if self._seen.wait(60) else NO_GOOD

    def count(self):
        return Counted(8, 8)


def test_what_a_worker_found_done_says_nothing_of_the_speed():
    seen = threading.Event()
    with progress_bar("drawing", 10) as bar:
        advance = bar.advance

        def watched(*counted, **more):
            advance(*counted, **more)
            if bar.found:
                seen.set()

        bar.advance = watched
        WorkerPool("drawing", bar, on_cluster=False).run([Job(0, "shard 0", 10)], lambda: Resumed(seen, 0), lambda: 1)
        assert (bar.done, bar.found) == (10, 8)


def test_failures_in_a_row_end_the_work_and_one_success_starts_the_count_again():
    outcomes = [NO_GOOD] * (HOPELESS - 1) + [None] + [NO_GOOD] * HOPELESS
    with pytest.raises(GenrobustError, match=rf"stopped after {HOPELESS} failures in a row, .*: no good") as error:
        run(in_turn(outcomes), 5 * HOPELESS)
    assert error.value.__notes__[-1].count("(0, ") == len(outcomes)


def test_a_long_list_is_cut(monkeypatch):
    monkeypatch.setattr(pool, "HOPELESS", 10**6)
    with pytest.raises(GenrobustError, match=rf"{LISTED + 5} of the jobs failed(?s:.*)\n  and 5 more\n"):
        run(lambda key: NO_GOOD, LISTED + 5)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (UserError("wrong"), UserError, "wrong"),
        (MissingPackage("ray", "ray", "--executor ray"), UserError, "--executor ray needs"),
        (DiskFull("full"), DiskFull, "full"),
        (
            RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried"),
            BadLuck,
            "no memory left",
        ),
        (MemoryError(), BadLuck, "no memory left"),
        (RuntimeError("CUDA error: out of memory"), BadLuck, "no memory left"),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling"), BadLuck, "no memory left"),
        (OSError(errno.ENOSPC, "No space left on device", "/runs/x"), DiskFull, "cannot use /runs/x: No space left"),
        (PermissionError(errno.EACCES, "Permission denied", "/runs/x"), UserError, "cannot use /runs/x: Permission"),
        (OutOfMemory("out of memory on cuda while drawing 1 image"), BadLuck, "out of memory on cuda while"),
        (KeyError("b"), GenrobustError, "unexpected KeyError: 'b'"),
    ],
)
def test_failures_travel_as_what_the_user_is_told(error, kind, message):
    arrived = pickle.loads(pickle.dumps(failure_of(error)))
    assert isinstance(arrived, kind)
    assert str(arrived).startswith(message)
    assert type(error).__name__ in arrived.__notes__[0], "with where it came from"
