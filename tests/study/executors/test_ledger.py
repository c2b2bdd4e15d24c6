"""What becomes of jobs that fail, told without anybody who does them."""

from __future__ import annotations

import logging

import pytest

from genrobust.core.errors import DiskFull, GenrobustError, UserError
from genrobust.study.executors.ledger import HOPELESS, LISTED, TRIES, Ledger, Outcome, Task
from genrobust.study.jobs import Job

DONE, BAD, FULL = Outcome(), Outcome("no good", trace="Traceback, far away"), Outcome("no room", DiskFull)


def ledger(count: int) -> Ledger:
    return Ledger("drawing", [Job(index, f"shard {index}", 10) for index in range(count)], workers=1)


def try_next(books: Ledger, outcome: Outcome, node: str = "a") -> Task:
    """Let the next job end so, on the only node that there is."""
    task = books.next_for(node, [node])
    assert task is not None
    books.tried(task, node, outcome)
    return task


def test_pieces_are_handed_out_in_their_order_and_each_once() -> None:
    books = ledger(3)
    given = [books.next_for("a", ["a"]) for _ in range(4)]
    assert [task and task.job.key for task in given] == [0, 1, 2, None]
    books.close()


def test_what_failed_is_tried_on_another_node_and_on_the_same_where_there_is_no_other() -> None:
    books = ledger(1)
    task = books.next_for("a", ["a", "b"])
    assert task is not None
    books.tried(task, "a", BAD)
    assert books.next_for("a", ["a", "b"]) is None
    assert books.next_for("b", ["a", "b"]) is task
    books.tried(task, "b", BAD)
    assert books.next_for("b", ["a", "b"]) is task


def test_what_fails_for_good_is_told_piece_by_piece_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    books = ledger(3)
    try_next(books, DONE)
    with caplog.at_level(logging.WARNING):
        for _ in range(2 * TRIES):
            try_next(books, BAD)
    assert books.next_for("a", ["a"]) is None
    assert caplog.messages.count("shard 2: no good; it is tried again") == TRIES - 1
    with pytest.raises(GenrobustError, match="drawing: 2 of the jobs failed") as error:
        books.close()
    lines = str(error.value).splitlines()
    assert lines[1:3] == [f"  shard {n}: no good (tries: {TRIES})" for n in (1, 2)]
    assert "run the same command again" in lines[3]
    assert not isinstance(error.value, UserError | DiskFull)
    assert "Traceback, far away" in str(error.value.__cause__)


def test_full_disks_alone_are_told_as_such() -> None:
    books = ledger(1)
    for _ in range(TRIES):
        try_next(books, FULL)
    with pytest.raises(DiskFull, match="shard 0: no room"):
        books.close()


def test_a_mistake_of_the_users_is_raised_at_once() -> None:
    books = ledger(2)
    with pytest.raises(UserError, match=r"^no such folder$") as error:
        try_next(books, Outcome("no such folder", UserError, "Traceback, far away"))
    assert "Traceback, far away" in str(error.value.__cause__)


def test_failures_in_a_row_end_the_work_and_one_success_starts_the_count_again() -> None:
    books = ledger(5 * HOPELESS)
    for outcome in [BAD] * (HOPELESS - 1) + [DONE] + [BAD] * (HOPELESS - 1):
        try_next(books, outcome)
    with pytest.raises(GenrobustError, match=rf"stopped after {HOPELESS} failures in a row, the last of them: no good"):
        try_next(books, BAD)


def test_a_long_list_is_cut() -> None:
    books = ledger(2 * (LISTED + 5))
    for _ in range(LISTED + 5):  # one fails for good, another is done, and so on
        failing = try_next(books, BAD)
        for _ in range(TRIES - 1):
            books.waiting.remove(failing)
            books.tried(failing, "a", BAD)
        try_next(books, DONE)
    with pytest.raises(GenrobustError, match=rf"{LISTED + 5} of the jobs failed(?s:.*)\n  and 5 more\n"):
        books.close()
