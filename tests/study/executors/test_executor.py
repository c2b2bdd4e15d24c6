"""Work in this process, and the choice of who does it."""

import sys
from dataclasses import replace

import pytest
from scribe import work
from small import count_of, recipe_of

from genrobust.core import DiskFull, UserError
from genrobust.study import Executor, open_executor


def test_jobs_are_done_in_their_order_with_one_load_and_none_for_no_job(tmp_path):
    Executor().run(work(tmp_path))
    assert list(tmp_path.iterdir()) == []
    Executor().run(work(tmp_path, "write:a", "write:b"))
    assert count_of(tmp_path, "loaded-*") == 1
    assert [count_of(tmp_path, f"done-{name}") for name in "ab"] == [1, 1]


def test_what_is_listed_together_is_timed_together(tmp_path):
    """A study's arms may be trained by one process, and each has its own speed."""
    jobs = work(tmp_path, "write:a", "write:b", "write:c")
    rows = [replace(job, row=row) for job, row in zip(jobs.items, ("one", "one", "other"), strict=True)]
    timed = []
    Executor().run(replace(jobs, items=rows, ended=lambda jobs, seconds: timed.append([job.key for job in jobs])))
    assert timed == [["write:a", "write:b"], ["write:c"]]
    assert count_of(tmp_path, "loaded-*") == 1


def test_the_first_failure_ends_it_as_it_is(tmp_path):
    with pytest.raises(DiskFull, match=r"^no room for b$"):
        Executor().run(work(tmp_path, "write:a", "fail:b", "write:c"))
    assert [count_of(tmp_path, f"try-*-{name}") for name in "abc"] == [1, 1, 0]


def test_a_device_that_is_not_here_is_refused():
    placed = Executor().placed(recipe_of(device="cpu"))
    assert Executor().placed(placed) is placed
    with pytest.raises(UserError, match="cuda:99"):
        Executor().placed(recipe_of(device="cuda:99"))


def test_without_ray_a_line_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(UserError, match=r"^--executor ray needs .* pip install 'genrobust\[ray\]'$"):
        open_executor(recipe_of(), tmp_path, "ray")
