"""Measured rates: kept by stage and kind, and no study fails for a file of them that is damaged."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small_study import QUICK

from genrobust.core import sealed
from genrobust.recipe import parse_recipe
from genrobust.study import Study
from genrobust.study.jobs import Job
from genrobust.study.rates import RATES, StageTimes, estimate, measured_rate, remember_rate


def test_a_rate_is_that_of_its_own_kind(tmp_path):
    for rate_key, rate in (("64 px", 400.0), ("224 px", 30.0), ("64 px", 500.0)):
        remember_rate(tmp_path / "runs", "train", rate_key, rate)
    assert measured_rate(tmp_path / "runs", "train", "64 px") == 500.0
    assert measured_rate(tmp_path / "runs", "train", "224 px") == 30.0
    assert measured_rate(tmp_path / "runs", "train", "96 px") is None
    assert measured_rate(tmp_path / "runs", "generate", "64 px") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"EUR": {"USD": 1.1}}', '{"train": {"x": 3.0}}'])
def test_a_file_of_the_user_s_of_that_name_stays(tmp_path, text):
    (tmp_path / RATES).write_text(text)
    remember_rate(tmp_path, "train", "x", 400.0)
    assert (tmp_path / RATES).read_text() == text
    assert measured_rate(tmp_path, "train", "x") is None


OWN_CLASS_MODEL = (
    "datasets={generated2: {from_scratch: true}}; class_model={precision: float32}; "
    "arms=[{name: all, mixture: generated2}]"
)


def rate_keys(stage, *changes):
    """The rate keys of a stage in a small study whose recipe is changed, by "section.key=value; section=value"."""
    recipe = QUICK | {"reference": "all", "arms": [{"name": "all", "mixture": "generated"}]}
    recipe |= {"generator": {"dtype": "float32"}, "train": {"precision": "float32"}}
    for path, _, value in (change.partition("=") for all in changes for change in all.split("; ") if change):
        section, _, key = path.partition(".")
        value = yaml.safe_load(value)
        recipe[section] = {**recipe.get(section, {}), key: value} if key else value
    rows = Study(parse_recipe(recipe), Path("runs")).rows()
    return {job.rate_key for row in rows if row.stage.name == stage for job in row.jobs}


@pytest.mark.parametrize(
    ("stage", "own", "slower", "same"),
    [
        (
            "train",
            "",
            [
                *("train.architecture=resnet18; train.model_kwargs={}", "train.model_kwargs={stem_width: 16}"),
                *("train.image_size=96", "train.augmentation=randaugment", "train.mixup=0.2", "train.batch_size=32"),
                *("train.precision=bfloat16", "train.crop=random-resized", "threads=2"),
            ],
            ["train.steps=7", "train.learning_rate=1.0", "train.validate_every=3"],
        ),
        (
            "generate",
            "",
            ["generator.dtype=bfloat16", "generator.steps=3", "generator.width=128; generator.height=128"],
            ["generate.per_class=3", "generator.guidance_scale=2.0"],
        ),
        (
            "evaluate",
            "",
            ["evaluate.flip=true", "evaluate.image_size=96", "train.architecture=resnet18"],
            ["train.steps=7"],
        ),
        (
            "class model",
            OWN_CLASS_MODEL,
            ["class_model.depth=3", "class_model.precision=bfloat16"],
            ["class_model.steps=99; class_model.learning_rate=1.0"],
        ),
    ],
)
def test_a_rate_knows_all_that_changes_it_and_nothing_else(stage, own, slower, same):
    usual = rate_keys(stage, own)
    assert len(usual) == 1
    found = [rate_keys(stage, own, change) for change in slower]
    assert len(set.union(usual, *found)) == 1 + len(slower)
    assert all(rate_keys(stage, own, change) == usual for change in same)


def test_an_estimate_shares_the_jobs_out(tmp_path):
    remember_rate(tmp_path, "train", "small", 10.0)
    remember_rate(tmp_path, "train", "large", 2.0)
    jobs = [Job(n, "", 100, "small" if n < 3 else "large") for n in range(4)]  # 10 s each, and 50 s
    assert estimate(tmp_path, "train", jobs, 1) == 80
    assert estimate(tmp_path, "train", jobs, 2) == 50
    assert estimate(tmp_path, "train", jobs[:3], 2) == 20
    assert estimate(tmp_path, "train", [], 4) == 0
    assert estimate(tmp_path, "train", [*jobs, Job(4, "", 1, "unknown")], 2) is None
    together = [Job(n, "", 100, "large", workers=2) for n in range(2)]  # each by both workers, after the others
    assert estimate(tmp_path, "train", [*jobs, *together], 2) == 50 + 2 * 50


@pytest.mark.parametrize(
    "text",
    [
        sealed({"train": {"x": 3.0}}).replace(b"3", b"4", 1),
        *map(sealed, ({"train": 5}, {"train": {"x": "fast"}}, {"train": {"x": None}}, {"train": {"x": 0}})),
    ],
)
def test_a_damaged_file_is_as_good_as_none(tmp_path, text):
    (tmp_path / RATES).write_bytes(text)
    assert measured_rate(tmp_path, "train", "x") is None
    remember_rate(tmp_path, "train", "x", 2.0)
    assert measured_rate(tmp_path, "train", "x") == 2.0


NOTING = """
import sys
from pathlib import Path
from genrobust.study.rates import remember_rate
for n in range(30):
    remember_rate(Path(sys.argv[1]), "train", f"{sys.argv[2]} {n}", 1.0)
"""


def test_two_processes_lose_no_rate(tmp_path):
    both = [subprocess.Popen([sys.executable, "-c", NOTING, str(tmp_path), name]) for name in ("one", "other")]
    assert [process.wait() for process in both] == [0, 0]
    known = [measured_rate(tmp_path, "train", f"{name} {n}") for name in ("one", "other") for n in range(30)]
    assert known == [1.0] * 60


def test_what_a_kill_left_is_removed_by_the_next_stage_and_nothing_below(tmp_path):
    left, below = tmp_path / ".rates.json.0a1b2c3d.part", tmp_path / "generated" / ".000000.tar.0a1b2c3d.part"
    below.parent.mkdir()
    for path in (left, below):
        path.write_bytes(b"half")
    with StageTimes(tmp_path).timed("train", "images", 1):
        assert not left.exists()
        assert below.exists()  # another process may be writing it
