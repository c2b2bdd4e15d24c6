"""Rates: kept by stage and kind. Before that, nothing is estimated."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from small_study import QUICK, genrobust

from genrobust.recipe import parse_recipe
from genrobust.study import Executor, Study, seconds_left
from genrobust.study.batch import Batch
from genrobust.study.estimates import OURS, Cost, Rates, estimate
from genrobust.study.executors.work import Item

ONE = Cost(1, of="x")
KEY = ONE.keys("cpu")[0]


def rate_of(folder, size=1):
    return Rates(folder).known("train", "cpu", ONE, size)


def remember(folder, rate, seconds=10):
    Rates(folder).remember("train", KEY, rate, seconds)


def test_a_rate_is_that_of_its_own_kind_or_else_of_any_kind(tmp_path):
    runs, half, other = tmp_path / "runs", Cost(0.5), Cost(2, "bfloat16")
    Rates(runs).remember("train", half.keys("cpu")[0], 300.0, 10)
    assert Rates(runs).known("train", "cpu", half, 1) == 600.0
    unknown = (("evaluate", "cpu", half), ("train", "cpu", other), ("train", "cpu", ONE), ("train", "cuda", half))
    assert [Rates(runs).known(*what, 1) for what in unknown] == [None] * 4
    slow = Cost(0.5, kind="augmix")
    assert Rates(runs).known("train", "cpu", slow, 1) == 600.0
    Rates(runs).remember("train", slow.keys("cpu")[0], 50.0, 10)
    assert [Rates(runs).known("train", "cpu", cost, 1) for cost in (slow, half)] == [100.0, 600.0]


def test_a_short_item_tells_nothing_of_a_long_one_and_replaces_no_longer_one(tmp_path):
    remember(tmp_path, 10.0, seconds=2)
    assert rate_of(tmp_path, size=100) == 10.0, "10 s after one of 2 s"
    assert rate_of(tmp_path, size=1000) is None, "100 s"
    remember(tmp_path, 40.0, seconds=60)
    assert rate_of(tmp_path, size=1000) == 40.0
    remember(tmp_path, 10.0, seconds=2)
    assert rate_of(tmp_path, size=1000) == 40.0
    remember(tmp_path, 50.0, seconds=40)
    assert rate_of(tmp_path, size=1000) == 50.0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"EUR": {"USD": 1.1}}', '{"train": {"x": 3.0}}'])
def test_a_file_of_the_user_s_of_that_name_stays(tmp_path, text):
    (tmp_path / "rates.json").write_text(text)
    remember(tmp_path, 400.0)
    assert (tmp_path / "rates.json").read_text() == text
    assert rate_of(tmp_path) is None


def test_a_folder_that_cannot_be_written_needs_no_rates(tmp_path):
    (tmp_path / "runs").touch()
    assert Rates(tmp_path / "runs").once("network", lambda: {"parameters": 1.0}) == {"parameters": 1.0}


def test_nothing_is_estimated_before_it_was_timed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = QUICK | {"reference": "all", "arms": [{"name": "all", "mixture": "generated"}], "device": "cpu"}
    study = Study(parse_recipe(recipe), tmp_path / "runs")
    rows = study.rows()
    assert seconds_left(rows) == (0, True)
    Path("own.yaml").write_text(yaml.safe_dump(recipe))
    assert "no run has timed" in genrobust("show", "own.yaml").stdout
    (train,) = [row for row in rows if row.stage == "train"]
    train.batch.keep_rate(train.left, 100)
    assert seconds_left(rows) == (pytest.approx(100), True)  # without generation
    assert not (tmp_path / "runs" / "generated").exists()


def test_the_table_of_times_counts_what_is_done_now(tmp_path):
    """Else its rate would be far too high for a training that resumed."""
    study = Study(parse_recipe(QUICK | {"arms": [{"name": "real", "mixture": "real"}]}), tmp_path)
    (train,) = study.plan.train(study.runs("real"))
    (item,) = train.items()
    resumed = replace(item, key=(0, item.key), saved=item.total - 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batch, "items", lambda batch: [] if study.context.times.records else [resumed])
        patch.setattr(Executor, "run", lambda executor, work: None)  # makes nothing
        patch.setattr(type(train), "finish", lambda step, made: None)
        Batch((train,)).run()
    assert [times.items for times in study.context.times.records] == [3 * item.each]


def test_an_estimate_shares_the_jobs_out():
    jobs = [(Item(n, "", 100, total=100), 10.0 if n < 3 else 2.0) for n in range(4)]  # 10 s each, and 50 s
    assert estimate(jobs, 1) == 80
    assert estimate(jobs, 2) == 50
    assert estimate(jobs[:3], 2) == 20
    assert estimate([], 4) == 0
    assert estimate([*jobs, (Item(4, "", 1, total=1), None)], 2) is None


def kept(rates):
    return json.dumps({OURS: rates}).encode()


@pytest.mark.parametrize(
    "text", [kept(of) for of in ({"train": 5}, {"train": {KEY: "fast"}}, {"train": {KEY: None}}, {"train": {KEY: 0}})]
)
def test_a_damaged_file_is_as_good_as_none(tmp_path, text):
    (tmp_path / "rates.json").write_bytes(text)
    assert rate_of(tmp_path) is None
    remember(tmp_path, 2.0)
    assert rate_of(tmp_path) == 2.0


NOTING = """
import sys
from pathlib import Path
from genrobust.study.estimates import Rates
for n in range(30):
    Rates(Path(sys.argv[1])).remember("train", f"{sys.argv[2]} {n}", 1.0, 1.0)
"""


def test_two_processes_lose_no_rate(tmp_path):
    both = [subprocess.Popen([sys.executable, "-c", NOTING, str(tmp_path), name]) for name in ("one", "other")]
    assert [process.wait() for process in both] == [0, 0]
    known = json.loads((tmp_path / "rates.json").read_bytes())[OURS]["train"]
    assert known == {f"{name} {n}": 1.0 for name in ("one", "other") for n in range(30)}


def test_what_a_kill_left_is_removed_with_the_next_rate_and_nothing_below(tmp_path):
    left, below = tmp_path / ".rates.json.0a1b2c3d.part", tmp_path / "generated" / ".000000.tar.0a1b2c3d.part"
    below.parent.mkdir()
    for path in (left, below):
        path.write_bytes(b"half")
    remember(tmp_path, 1.0)
    assert not left.exists()
    assert below.exists()  # another process may be writing it
