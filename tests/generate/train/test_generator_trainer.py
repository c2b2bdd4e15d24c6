"""A training ends in the same weights whatever stops it, saves what it learned, and says what is in its way."""

import json
from dataclasses import replace
from importlib.metadata import version

import pytest
import torch
from kill_and_resume import contents
from refusals import refused
from safetensors.torch import load_file
from small_training import KINDS, UNET, images, objective, run, started

from genrobust.classifiers.networks import training_state
from genrobust.core import GenrobustError, OutOfMemory, Subset
from genrobust.generate import identity, train_generator, training_inputs
from genrobust.generate.train.generator_trainer import GeneratorTrainer
from genrobust.generate.train.objective import losses
from genrobust.recipe import GeneratorConfig

HALF = {"precision": "float16", "steps": 12}
HOT = 2.0**26  # no float16 holds a gradient times so much
each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.parametrize("kind", [pytest.param("full", marks=pytest.mark.thorough), "lora"])
def test_in_float16_steps_that_overflow_are_skipped_unless_they_do_at_any_scale(base, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(training_state, "FIRST_SCALE", HOT)
    scales = []

    class Watched(GeneratorTrainer):
        def update(self):
            super().update()
            scales.append(self.scaler.get_scale())

    started(base, tmp_path / "out", kind, Watched, **HALF).train()
    assert scales[0] == HOT / 2 and scales[-1] == scales[-2], "skipped at first, and not in the end"
    monkeypatch.setattr(training_state, "LEAST_SCALE", 2 * HOT)
    with refused("finetune.precision", kind=GenrobustError):
        run(base, tmp_path / "hopeless", kind, **HALF)


@each_kind
def test_a_finished_run_is_left_alone(base, trained, kind):
    def times():
        return {path: path.stat().st_mtime_ns for path in trained[kind].rglob("*") if path.suffix == ".safetensors"}

    before, written = contents(trained[kind]), times()
    (trained[kind] / "unfinished.json").write_bytes(before["manifest.json"])  # killed right after the manifest was
    assert run(base, trained[kind], kind, save_every=5) == trained[kind]
    assert contents(trained[kind]) == before and times() == written


@pytest.mark.parametrize(
    ("kind", "share"),
    [
        pytest.param("full", 0.8, marks=pytest.mark.thorough),
        pytest.param("lora", 0.97, marks=pytest.mark.thorough),
        ("class", 0.9),
    ],
)
def test_it_learns_what_it_is_shown(base, tmp_path, kind, share):
    gentle = {"learning_rate": 3e-3} if kind == "class" else {}
    training = started(base, tmp_path, kind, steps=60, batch_size=8, **gentle)

    def unseen_loss():
        with torch.no_grad():
            batches = [training.examples.batch(1, step) for step in range(4)]
            return float(torch.cat([losses(training.schedule, training.model, b) for b in batches]).mean())

    before = unseen_loss()
    training.train()
    training.averaged()
    assert unseen_loss() < share * before


@pytest.mark.parametrize("changes", [{"accumulate": 3}, {"gradient_checkpointing": True}])
def test_what_saves_memory_leaves_the_gradient_alone(base, tmp_path, changes):
    plain, thrifty = started(base, tmp_path), started(base, tmp_path, **changes)
    assert plain.compute_gradient(0).tolist() == pytest.approx(thrifty.compute_gradient(0).tolist(), rel=1e-4)
    for one, other in zip(plain.parameters, thrifty.parameters, strict=True):
        assert one.grad is not None and other.grad is not None
        assert torch.allclose(one.grad, other.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("ema_decay", [0.5, 0.999, 0.0])
def test_the_averaged_weights_are_those_saved(base, tmp_path, ema_decay):
    after = []

    class Watched(GeneratorTrainer):
        def update(self):
            super().update()
            after.append({name: value.detach().clone() for name, value in self.model.state_dict().items()})

    started(base, tmp_path / "watched", "full", Watched, ema_decay=ema_decay).train()
    out = run(base, tmp_path / "out", ema_decay=ema_decay)
    average = after[0]
    for number, weights in enumerate(after[1:], start=1):
        decay = min(ema_decay, (1 + number) / (10 + number))
        average = {name: decay * average[name] + (1 - decay) * value for name, value in weights.items()}
    for name, saved in load_file(out / UNET).items():
        assert torch.allclose(saved, average[name].half(), rtol=2e-3, atol=1e-6), name


@each_kind
def test_the_record_says_what_it_was_made_from(base, trained, kind):
    text = (trained[kind] / "manifest.json").read_text()
    manifest = json.loads(text)
    record = manifest["inputs"]
    job = training_inputs(objective(base, kind), "cpu", 1)
    assert record == job
    weights = identity(GeneratorConfig(model=str(base)))["weights_sha256"]
    assert (record["base"], record["base_sha256"], record["steps"]) == (base.name, weights, 8)
    assert (record["images"], record["images_fingerprint"]) == (12, images().fingerprint)
    key, count = ("classes", 3) if kind == "class" else ("captions", 6)
    assert record[key] == count
    assert manifest["made_by"]["torch"] == version("torch")
    assert str(base.parent) not in text and str(trained[kind].parent) not in text


@pytest.mark.parametrize(
    ("kind", "changes", "named"),
    [
        ("full", {"learning_rate": 1e-3}, ["learning_rate: ", 0.01, 0.001]),
        ("full", {"on": Subset(images(), [0, 4, 8])}, ["images: ", 12, 3]),
        ("class", {"flip": True}, ["flip: ", False, True]),
    ],
)
def test_a_folder_of_another_training_is_refused_and_kept(base, trained, kind, changes, named):
    before = contents(trained[kind])
    with refused(trained[kind], *named):
        run(base, trained[kind], kind, **changes)
    assert contents(trained[kind]) == before


def test_the_state_of_another_training_is_refused_and_kept(base, tmp_path):
    started(base, tmp_path, steps=9).train()  # without the weights that it ends in
    before = contents(tmp_path)
    assert before.keys() == {"unfinished.json", "state-000009.safetensors"}
    with refused(tmp_path, "steps: ", 9, 8):
        run(base, tmp_path)
    assert contents(tmp_path) == before


def test_a_folder_of_other_files_such_as_the_base_itself_is_refused(base, tmp_path):
    before = contents(base)
    with refused("model_index.json"):
        run(base, base)
    assert contents(base) == before
    (tmp_path / "file").touch()
    with refused(tmp_path / "file"):
        run(base, tmp_path / "file" / "out")


@pytest.mark.parametrize(("save_every", "kept"), [(1, "step 1 is kept"), (100, "No state")])
def test_a_loss_that_is_no_number_names_the_step_and_keeps_a_good_state(base, tmp_path, save_every, kept):
    # The rate is 0 at the first step, so the second is the first to change a weight, and the third the first to fail.
    with refused("step 3", "finetune.learning_rate", "1e+30", kept, kind=GenrobustError):
        run(base, tmp_path / "out", learning_rate=1e30, save_every=save_every)
    assert not (tmp_path / "out" / "manifest.json").exists()
    if save_every == 1:
        (path,) = (tmp_path / "out").glob("state-*")
        state, old = load_file(path), load_file(base / UNET)
        saved = sum(float(value.abs().sum()) for name, value in state.items() if name.startswith("model."))
        assert saved == pytest.approx(sum(float(value.float().abs().sum()) for value in old.values()), rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [("full", "finetune.method"), ("class", "class_model.gradient_checkpointing")],
)
def test_out_of_memory_says_what_to_lower(base, tmp_path, kind, remedy):
    made = objective(base, kind)
    huge = made.config.model_copy(update={"batch_size": 10**15})  # beyond any address space
    with refused("cpu", ".accumulate", ".batch_size", remedy, kind=OutOfMemory):
        train_generator(replace(made, config=huge), tmp_path / "out", "cpu", threads=1)


@pytest.mark.parametrize(
    ("kind", "base", "changes", "own", "says"),
    [
        ("full", "sdxl", {}, {}, "StableDiffusionXLPipeline"),
        ("full", "variation", {"mode": "images"}, {}, "generator.mode is images"),
        ("full", "dit", {"mode": "class"}, {}, "generator.mode is class"),
        ("full", "dit", {}, {}, "holds a DiTPipeline"),
        ("full", "sd", {"lora": {"model": "some.safetensors"}}, {}, "generator.lora is set"),
        ("full", "sd", {"width": 63}, {}, "generator.width"),
        ("class", "sd3", {}, {}, "AutoencoderKL"),
        ("class", "sd", {"width": 128}, {}, "128 x 64"),
        ("class", "sd", {}, {"channels": (32,) * 6}, "fewer levels in class_model.channels"),
    ],
)
def test_a_base_that_does_not_fit_is_named(folder_of, tmp_path, kind, base, changes, own, says):
    generator = GeneratorConfig.model_validate({"model": str(folder_of(base)), **changes})
    with refused(says):
        run(generator, tmp_path / "out", kind, **own)
