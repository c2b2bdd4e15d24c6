"""The speed of this machine, measured by a second of the real work: what is left, once, and nothing is kept of it."""

import json

import pytest
import torch
from small_study import REAL, SHORT

from genrobust.core import progress_bar
from genrobust.recipe import load_recipe
from genrobust.study import Processes, Study, calibrate, calibrating
from genrobust.study.jobs import Job
from genrobust.study.rates import RATES, measured_rate
from genrobust.study.stages import generate
from genrobust.study.stages.describe import Describe
from genrobust.train import loop

TUNED = "datasets.tuned.finetuned=true datasets.scratch.from_scratch=true zero_shot.clip=pictograms "
OPTIONS = [
    *(SHORT + TUNED).split(),
    *("generate.per_class=2", "generate.shard_size=50", "train.steps=30", "train.image_size=64"),
    "finetune={steps: 3, batch_size: 2, warmup_steps: 1, precision: float32}",
    "class_model={depth: 1, width: 16, heads: 2, steps: 3, batch_size: 2, warmup_steps: 1, precision: float32}",
]
ARMS = {"name": "all", "mixture": ["real", "generated", "tuned", "scratch"]}


@pytest.fixture
def study(monkeypatch, tmp_path):
    monkeypatch.setattr(calibrating, "SECONDS", 0.05)

    def make(*options, **how):
        recipe = load_recipe("pictograms", [*OPTIONS, f"arms={json.dumps([REAL, ARMS])}", "answer=null", *options])
        return Study(recipe, tmp_path / "runs", **how)

    return make


def test_every_kind_of_work_that_is_left_is_measured_once(study, tmp_path):
    made = study()
    rows = made.rows()
    calibrate(made.context, rows)
    keys = {(row.stage.name, job.rate_key) for row in rows for job in row.jobs}
    known = {key: measured_rate(made.out, *key) for key in keys}
    unknown = [key for key, rate in known.items() if rate is None]
    # A class model is drawn with once it is trained, and not before.
    assert [stage for stage, of in unknown] == ["generate"] and "DiT" in unknown[0][1]
    assert {stage for stage, _ in known} == {"finetune", "class model", "generate", "train", "evaluate"}
    assert all(rate > 0 for rate in known.values() if rate is not None)
    assert [path.name for path in (tmp_path / "runs").iterdir() if path.name != ".lock"] == [RATES]
    before = (tmp_path / "runs" / RATES).read_bytes()
    calibrate(made.context, [row for row in rows if (row.stage.name, row.jobs[0].rate_key) not in unknown])
    assert (tmp_path / "runs" / RATES).read_bytes() == before


def test_nothing_is_measured_where_nothing_is_left_or_nodes_differ(study, tmp_path, monkeypatch):
    calibrate(study().context, [])
    elsewhere = Processes(study().recipe, 1)
    monkeypatch.setattr(Processes, "here", False)
    made = study(executor=elsewhere)
    calibrate(made.context, made.rows())
    assert not (tmp_path / "runs" / RATES).exists()


def test_work_that_cannot_be_tried_leaves_its_rate_unknown(study, monkeypatch):
    monkeypatch.setattr(generate, "LARGEST_ON_CPU", 1)  # byte: as if the generator were Stable Diffusion
    made = study()
    (row,) = [row for row in made.rows() if (row.stage.name, row.name) == ("generate", "generated")]
    calibrate(made.context, [row])
    assert measured_rate(made.out, "generate", row.jobs[0].rate_key) is None


@pytest.mark.parametrize("largest", [6, 0])
def test_a_worker_of_a_group_is_measured_on_its_share_of_a_batch(study, monkeypatch, largest):
    """The rest would not fit on its device; where nothing fits, the training itself will say so."""
    seen, step = [], loop._Run._step

    def limited(self, number, images, targets):
        seen.append(len(images))
        if len(images) > largest:
            raise torch.OutOfMemoryError
        return step(self, number, images, targets)

    monkeypatch.setattr(loop._Run, "_step", limited)
    made = study("train.workers=2", "train.batch_size=12")
    row = next(row for row in made.rows() if row.stage.name == "train")
    calibrate(made.context, [row])
    assert set(seen) == {6}
    assert (measured_rate(made.out, "train", row.jobs[0].rate_key) is None) == (largest == 0)


def test_images_that_are_read_once_count_once(study, monkeypatch):
    """Of 100 batches of ten, the first four are read, in 11 s each; the trial sees two of these, and three of 1 s."""
    now = [0.0]
    monkeypatch.setattr(calibrating.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(calibrating, "SECONDS", 3.0)

    class Slow(Describe):
        def trial(self, job, folder):
            with progress_bar("training", 100, each=10) as bar:
                for batch in range(100):
                    now[0] += 11 if batch < 2 else 1
                    bar.advance()

        def reads(self, job):
            return 40

    made = study()
    slow = Slow(made.graph.sources, [], None)
    job = Job("x", "x", 1000)
    assert calibrating._rate(slow, job) == pytest.approx(1000 / (100 * 1 + 4 * 10))
    assert now[0] == 2 * 11 + 3 * 1
