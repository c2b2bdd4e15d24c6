"""The training loop learns, survives kills with the same weights, keeps the best, and names what went wrong."""

import json
import math
from importlib.metadata import version
from itertools import pairwise

import pytest
import torch
from kill_and_resume import contents
from refusals import refused
from timm.utils import ModelEmaV3

from genrobust.classifiers import load_checkpoint, read_checkpoint_info, saved_steps
from genrobust.classifiers.networks import training_state
from genrobust.core import GenrobustError
from genrobust.recipe import TrainConfig
from genrobust.train import Source
from genrobust.train.loop import Training, learning_rate

HALF = {"precision": "float16"}
HOT = 2.0**24  # no float16 holds a gradient times so much


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(job, tmp_path_factory):
    return job.run(tmp_path_factory.mktemp("train") / "run")


@pytest.mark.parametrize("changes", [{"seed": 1}, {"mixup": 0.2}, {"random_erasing": 0.3}, {"ema_decay": 0.5}], ids=str)
def test_what_is_set_changes_the_weights(job, undisturbed, tmp_path, changes):
    assert weights(job.run(tmp_path, **changes)) != weights(undisturbed)


def test_bfloat16_computes_otherwise_and_leaves_weights_of_float32(job, tmp_path):
    folders = [job.run(tmp_path / name, steps=4, precision=name) for name in ("bfloat16", "float32")]
    assert weights(folders[0]) != weights(folders[1])
    pairs = zip(*(load_checkpoint(folder, "cpu")[0].state_dict().values() for folder in folders), strict=True)
    assert all(one.dtype == other.dtype and one.isfinite().all() for one, other in pairs)


@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("sgd", marks=pytest.mark.thorough)])
def test_a_step_whose_gradients_overflow_is_skipped(job, tmp_path, monkeypatch, optimizer):
    scales, moved = [HOT], []

    class Watched(Training):
        def train_step(self, *batch):
            before = [p.detach().clone() for p in self.model.parameters()]
            loss = super().train_step(*batch)
            scales.append(self.scaler.get_scale())
            moved.append(not all(map(torch.equal, before, self.model.parameters())))
            return loss

    monkeypatch.setattr(training_state, "FIRST_SCALE", HOT)
    job.begun(tmp_path, Watched, steps=24, optimizer=optimizer, **HALF).train()
    assert moved[0] is False and moved[-1] is True
    assert moved == [after >= before for before, after in pairwise(scales)]


@pytest.mark.parametrize(
    ("of", "step", "pattern", "changes"),
    [
        ("model", 11, "weight", {"steps": 12}),  # the last step, whose loss is finite
        ("model", 4, "running_var", {}),  # which no loss of a training depends on
        ("ema", 11, "running_var", {"steps": 12}),
    ],
    ids=str,
)
def test_weights_that_are_no_numbers_end_a_training(job, tmp_path, of, step, pattern, changes):
    class Ruined(Training):
        """After `step`, a tensor whose name holds `pattern` is NaN."""

        def train_step(self, number, *batch):
            loss = super().train_step(number, *batch)
            if number == step:
                state = {"model": self.model, "ema": self.average.module}[of].state_dict()
                next(tensor for name, tensor in state.items() if pattern in name).fill_(math.nan)
            return loss

    with refused(pattern, "train.learning_rate", kind=GenrobustError):
        job.begun(tmp_path, Ruined, **{"steps": 12, **changes}).train()
    assert not (tmp_path / "manifest.json").exists()


def test_a_finished_run_is_left_alone(job, undisturbed):
    before = contents(undisturbed)
    (undisturbed / "unfinished.json").write_bytes(before["manifest.json"])  # a kill left it
    seen = []
    assert job.run(undisturbed, save_every=5, watch=lambda step, metrics: seen.append(step)) == undisturbed
    assert contents(undisturbed) == before and not seen


def test_a_checkpoint_holds_no_time_and_no_path(undisturbed):
    made = contents(undisturbed)
    assert made.keys() == {"manifest.json", "model.safetensors"}
    assert str(undisturbed.parent).encode() not in made["manifest.json"]
    manifest = json.loads(made["manifest.json"])
    assert manifest["about"]["training"]["config"]["steps"] == 12 and manifest["made_by"]["torch"] == version("torch")


def test_it_learns_what_it_is_shown(job, tmp_path):
    info = read_checkpoint_info(job.run(tmp_path / "run", steps=150, validate_every=150, save_every=150, batch_size=32))
    assert info.training["history"][-1]["val_top1"] > 50  # chance is 12.5
    assert info.classes == job.labels.ids and info.image_size == 32
    assert info.training["counts"] == {"real": len(job.real)}


@pytest.mark.parametrize("steps", [1, 12, 600])
def test_the_highest_decay_of_the_average_is_that_of_timm(steps):
    average = ModelEmaV3(torch.nn.Linear(1, 1), decay=0.9999, use_warmup=True)
    reached = TrainConfig(steps=steps, ema_decay=0.9999).effective.ema_decay
    assert reached == pytest.approx(average.get_decay(steps))


@pytest.mark.parametrize(("epochs", "steps"), [(1, 4), (2.5, 9)])
def test_epochs_are_passes_over_the_mixture(job, tmp_path, epochs, steps):
    sources = [Source("real", job.real, per_class=3), Source("wild", job.wild, per_class=4)]  # 56 images, 16 a batch
    out = job.run(tmp_path / "epochs", sources=sources, steps=None, epochs=epochs)
    training = read_checkpoint_info(out).training
    assert training["steps"] == training["history"][-1]["step"] == steps
    assert weights(out) == weights(job.run(tmp_path / "steps", sources=sources, steps=steps))


def test_the_best_validation_is_kept(undisturbed):
    training = read_checkpoint_info(undisturbed).training
    assert [entry["step"] for entry in training["history"]] == [4, 8, 12]
    best, step = max((entry["val_top1"], entry["step"]) for entry in training["history"])  # the last of the best
    assert (training["best_step"], training["best_val_top1"]) == (step, best)


def test_learning_rate_warms_up_and_falls_to_zero():
    config = TrainConfig(steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate(config, step, 100, 10) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == 1.0
    assert all(a >= b for a, b in pairwise(rates[10:]))
    assert 0 < rates[-1] < 0.001
    assert learning_rate(config, 4, 5, 10) > 0  # a run shorter than its warm-up still moves


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"optimizer": "sgd", "learning_rate": 1e18, "warmup_steps": 0}, r"train\.learning_rate \(now 1e\+18\)"),
        (HALF, r"train\.precision"),
        ({"architecture": "test_vit", "start_size": 32, "crop": "random-resized"}, r"train\.start_size"),
    ],
    ids=str,
)
def test_a_training_that_cannot_be_names_the_key(job, tmp_path, monkeypatch, changes, says):
    monkeypatch.setattr(training_state, "LEAST_SCALE", 2.0**17)  # for float16: hopeless from the start
    with pytest.raises(GenrobustError, match=says) as error:
        job.run(tmp_path / "run", **changes)
    assert ("train.precision" in str(error.value)) == (changes == HALF)  # the others compute in float32 already
    assert not (tmp_path / "run" / "manifest.json").exists()


def test_a_folder_of_another_run_is_refused_and_kept(job, undisturbed):
    before = contents(undisturbed)
    with refused("learning_rate: ", 0.002, 0.001):
        job.run(undisturbed, learning_rate=1e-3)
    with refused(undisturbed):
        job.run(undisturbed, sources=job.sources())
    assert contents(undisturbed) == before


def stop_after(job, out, steps, **changes):
    def stop(step, metrics):
        if step == steps:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.run(out, watch=stop, **changes)


@pytest.mark.parametrize("name", ["state-000003.safetensors", "unfinished.json"])
def test_a_damaged_state_is_named_and_kept(job, tmp_path, name):
    stop_after(job, tmp_path, 4)
    (tmp_path / name).write_bytes(b"not safetensors")
    with refused(name, "delete", kind=GenrobustError):
        job.run(tmp_path)
    assert contents(tmp_path)[name] == b"not safetensors"


def test_states_that_a_killed_training_did_not_record_are_removed(job, undisturbed, tmp_path):
    stop_after(job, tmp_path, 4)
    (tmp_path / "state-000005.safetensors").write_bytes(b"whole or not")
    assert saved_steps(tmp_path) == 3
    job.run(tmp_path)
    assert contents(tmp_path) == contents(undisturbed)
