"""The training loop learns, resumes to the same weights after any kill, keeps the best, and says what went wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from genrobust.classifiers import models
from genrobust.classifiers.checkpoints import read_checkpoint_info
from genrobust.classifiers.models import load_checkpoint
from genrobust.core.errors import GenrobustError, UserError
from genrobust.core.images import Subset
from genrobust.recipe.classify import TrainConfig
from genrobust.train import loop
from genrobust.train.loop import learning_rate, train
from genrobust.train.mixture import Mixture, Source


def run(job: Any, out: Path, seed: int = 0, parts: list[Source] | None = None, **changes: Any) -> Path:
    config = job.config.model_copy(update=changes)
    mixture = Mixture(parts or [Source("real", job.real)], config.batch_size, config.image_size)
    return train(mixture, job.val, job.labels, config, seed, out, device="cpu", threads=1)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(job: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(job, tmp_path_factory.mktemp("train") / "run")


def test_same_job_same_bytes_and_another_seed_others(job: Any, undisturbed: Path, tmp_path: Path) -> None:
    again = run(job, tmp_path / "again")
    assert weights(again) == weights(undisturbed)
    assert (again / "checkpoint.json").read_bytes() == (undisturbed / "checkpoint.json").read_bytes()
    assert weights(run(job, tmp_path / "other", seed=1)) != weights(undisturbed)


def test_bfloat16_computes_otherwise_and_leaves_weights_of_float32(job: Any, tmp_path: Path) -> None:
    rounded = run(job, tmp_path / "bfloat16", steps=4, precision="bfloat16")
    exact = run(job, tmp_path / "float32", steps=4)
    assert weights(rounded) != weights(exact)
    pairs = zip(*(load_checkpoint(folder, "cpu")[0].state_dict().values() for folder in (rounded, exact)), strict=True)
    for one, other in pairs:
        assert one.dtype == other.dtype
        assert one.isfinite().all()


class Killed(BaseException):
    """Stands for the end of the process: no handler in the loop may catch it."""


ADAMW, SGD = {"optimizer": "adamw"}, {"optimizer": "sgd"}
HALF = {"precision": "float16"}
MIXED = {"mixup": 0.4, "cutmix": 1.0, "random_erasing": 0.5}


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        *((ADAMW, 1), (ADAMW, 3), (ADAMW, 11), (SGD, 5)),
        *((HALF, 5), (HALF | SGD | {"split_batchnorm": True}, 10)),
        *((MIXED, 5), ({"split_batchnorm": True}, 5), (SGD | MIXED | {"split_batchnorm": True}, 10)),
    ],
    ids=str,
)
def test_stopped_at_any_step_and_run_again_gives_the_same_weights(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], at: int
) -> None:
    parts = [Source("real", job.real, 1), Source("generated", job.wild, 2)]
    whole = run(job, tmp_path / "whole", parts=parts, **changes)
    step = loop._Run._step

    def stop(self: Any, number: int, *batch: Any) -> Any:
        if number == at:
            raise Killed
        return step(self, number, *batch)

    monkeypatch.setattr(loop._Run, "_step", stop)
    with pytest.raises(Killed):
        run(job, tmp_path / "again", parts=parts, **changes)
    assert not (tmp_path / "again" / "checkpoint.json").exists()
    monkeypatch.setattr(loop._Run, "_step", step)
    again = run(job, tmp_path / "again", parts=parts, **changes)
    assert weights(again) == weights(whole)
    assert (again / "checkpoint.json").read_bytes() == (whole / "checkpoint.json").read_bytes()
    assert not (again / "state.safetensors").exists()


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_step_whose_gradients_overflow_is_skipped(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    scales, moved = [], []
    step = loop._Run._step

    def look(self: Any, *batch: Any) -> Any:
        before = [p.detach().clone() for p in self.model.parameters()]
        loss = step(self, *batch)
        scales.append(self.scaler.get_scale())
        moved.append(not all(map(torch.equal, before, self.model.parameters())))
        return loss

    monkeypatch.setattr(loop._Run, "_step", look)
    monkeypatch.setattr(models, "FIRST_SCALE", 2.0**24)  # no float16 holds a gradient times so much
    whole = run(job, tmp_path / "whole", steps=24, optimizer=optimizer, **HALF)
    assert moved[0] is False and moved[-1] is True
    assert all(m == (after >= before) for m, before, after in zip(moved, [2.0**24, *scales], scales, strict=False))

    def stop(self: Any, number: int, *batch: Any) -> Any:
        if number == 4:
            raise Killed
        return step(self, number, *batch)

    monkeypatch.setattr(loop._Run, "_step", stop)
    with pytest.raises(Killed):
        run(job, tmp_path / "again", steps=24, optimizer=optimizer, **HALF)
    monkeypatch.setattr(loop._Run, "_step", step)
    assert weights(run(job, tmp_path / "again", steps=24, optimizer=optimizer, **HALF)) == weights(whole)


def test_gradients_that_overflow_at_any_scale_are_told(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "LEAST_SCALE", 2.0**17)
    with pytest.raises(GenrobustError, match=r"train\.precision"):
        run(job, tmp_path / "run", **HALF)


def test_after_kill_9_a_rerun_gives_the_same_weights(job: Any, tmp_path: Path) -> None:
    steps = 60  # long enough after the first state for the kill to come in time
    whole = run(job, tmp_path / "whole", steps=steps)
    script = [sys.executable, str(Path(__file__).parent / "train_once.py"), str(tmp_path / "parts"), str(steps)]
    process = subprocess.Popen(script)
    state = tmp_path / "parts" / "state.safetensors"
    while not state.exists():
        assert process.poll() is None, "the run ended without ever saving its state"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "parts" / "checkpoint.json").exists()
    parts = run(job, tmp_path / "parts", steps=steps)
    assert weights(parts) == weights(whole)


def test_a_finished_run_is_left_alone(job: Any, undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_Run", None)  # a second run would need it
    before = weights(undisturbed)
    (undisturbed / "state.safetensors").write_bytes(b"left")  # as if killed right after the checkpoint was written
    assert run(job, undisturbed) == undisturbed
    assert weights(undisturbed) == before
    assert not (undisturbed / "state.safetensors").exists()


def test_a_folder_of_another_run_is_refused_and_kept(job: Any, undisturbed: Path, tmp_path: Path) -> None:
    before = weights(undisturbed)
    with pytest.raises(UserError, match=r"holds another training run.*choose another output folder"):
        run(job, undisturbed, learning_rate=1e-3)
    assert weights(undisturbed) == before


def test_it_learns_what_it_is_shown(job: Any, tmp_path: Path) -> None:
    out = run(job, tmp_path / "run", steps=150, validate_every=150, save_every=150, batch_size=32)
    info = read_checkpoint_info(out)
    history = info.training["history"]
    assert history[-1]["val_top1"] > 50  # chance is 12.5
    assert info.classes == job.labels.ids and info.image_size == 32
    assert info.training["counts"] == {"real": len(job.real)}


@pytest.mark.parametrize("epochs", [1, 2.5])
def test_epochs_are_passes_over_the_mixture(job: Any, tmp_path: Path, epochs: float) -> None:
    parts = [Source("real", job.real, per_class=3), Source("wild", job.wild, per_class=4)]  # 56 images, 16 a batch
    steps = {1: 4, 2.5: 9}[epochs]
    out = run(job, tmp_path / "epochs", parts=parts, steps=None, epochs=epochs)
    training = read_checkpoint_info(out).training
    assert training["steps"] == training["history"][-1]["step"] == steps
    assert weights(out) == weights(run(job, tmp_path / "steps", parts=parts, steps=steps))


@pytest.mark.parametrize("changes", [{"mixup": 0.2}, {"cutmix": 1.0}, {"random_erasing": 0.3}], ids=str)
def test_every_augmentation_changes_the_weights(
    job: Any, undisturbed: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    first, second = (run(job, tmp_path / name, **changes) for name in ("first", "second"))
    assert weights(first) == weights(second) != weights(undisturbed)


def test_the_best_validation_is_kept(undisturbed: Path) -> None:
    training = read_checkpoint_info(undisturbed).training
    assert [entry["step"] for entry in training["history"]] == [4, 8, 12]
    best = max(entry["val_top1"] for entry in training["history"])
    last_of_best = [entry["step"] for entry in training["history"] if entry["val_top1"] == best][-1]
    assert (training["best_step"], training["best_val_top1"]) == (last_of_best, best)


def test_without_average_the_checkpoint_is_the_model_itself(job: Any, tmp_path: Path) -> None:
    made: list[Any] = []
    finish = loop._Run.finish

    def keep(self: Any) -> None:
        made.append(self)
        finish(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Run, "finish", keep)
        out = run(job, tmp_path / "run", ema_decay=0.0, validate_every=12)
    model, _ = load_checkpoint(out)
    for name, value in made[0].model.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_a_loss_that_is_no_number_names_what_to_lower(job: Any, tmp_path: Path) -> None:
    with pytest.raises(GenrobustError, match=r"loss is .* at step \d+.*learning_rate.*warmup_steps"):
        run(job, tmp_path / "run", optimizer="sgd", learning_rate=1e18, warmup_steps=0)
    assert not (tmp_path / "run" / "checkpoint.json").exists()


def test_a_damaged_state_is_named_and_kept(job: Any, tmp_path: Path) -> None:
    state = tmp_path / "run" / "state.safetensors"
    state.parent.mkdir()
    state.write_bytes(b"not safetensors")
    with pytest.raises(GenrobustError, match=r"state\.safetensors.*delete it"):
        run(job, tmp_path / "run")
    assert state.read_bytes() == b"not safetensors"


def test_an_empty_validation_set_is_refused_at_once(job: Any, tmp_path: Path) -> None:
    mixture = job.mixture()
    with pytest.raises(UserError, match=r"validation set .* is empty"):
        train(mixture, Subset(job.val, []), job.labels, job.config, 0, tmp_path / "run", device="cpu", threads=1)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_holds_no_time_and_no_path(undisturbed: Path) -> None:
    text = (undisturbed / "checkpoint.json").read_text()
    assert str(undisturbed.parent) not in text
    assert json.loads(text)["training"]["config"]["steps"] == 12
    assert sorted(p.name for p in undisturbed.iterdir() if p.name != ".lock") == [
        "checkpoint.json",
        "model.safetensors",
    ]


def test_learning_rate_warms_up_and_falls_to_zero() -> None:
    config = TrainConfig(steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate(config, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == 1.0
    assert all(a >= b for a, b in pairwise(rates[10:]))
    assert 0 < rates[-1] < 0.001
    assert learning_rate(config, 4, 5) > 0  # a run shorter than its warm-up still moves
