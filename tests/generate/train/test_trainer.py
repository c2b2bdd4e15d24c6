"""A training resumes, saves what it learned, and says what is in its way."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from drawn import contents
from safetensors.torch import load_file
from training_job import KINDS, images, objective, run, started

from genrobust.core.errors import GenrobustError, UserError
from genrobust.core.images import Subset
from genrobust.generate.engine import identity
from genrobust.generate.train.loop import DiffusionTrainer
from genrobust.generate.train.objective import losses
from genrobust.generate.train.trainer import training_inputs
from genrobust.recipe.generate import GeneratorConfig

UNET = "unet/diffusion_pytorch_model.safetensors"
STATE = "state.safetensors"
each_kind = pytest.mark.parametrize("kind", KINDS)


def test_a_full_disk_is_reported_and_the_run_resumes_when_there_is_room(
    base: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(GenrobustError, match=r"cannot write to .*free some space"):
            run(base, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    run(base, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(trained["full"])


@each_kind
def test_a_finished_run_is_left_alone(
    base: Path, trained: dict[str, Path], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(DiffusionTrainer, "__init__", None)  # a second run would need it
    before = contents(trained[kind])
    (trained[kind] / STATE).write_bytes(b"left")  # as if killed right after the record was written
    assert run(base, trained[kind], kind, save_every=5) == trained[kind]
    assert contents(trained[kind]) == before


# ----------------------------------------------------------------------------------------- what is learned


@pytest.mark.parametrize(("kind", "share"), [("full", 0.8), ("lora", 0.97), ("class", 0.9)])
def test_it_learns_what_it_is_shown(base: Path, tmp_path: Path, kind: str, share: float) -> None:
    training = started(base, tmp_path, kind, steps=60, batch_size=8)

    def unseen_loss() -> float:
        with torch.no_grad():
            batches = [training.examples.batch(1, step) for step in range(4)]
            return float(torch.cat([losses(training.model, training.schedule, b, 5.0) for b in batches]).mean())

    before = unseen_loss()
    training.work()
    training.averaged()
    assert unseen_loss() < share * before


@pytest.mark.parametrize("changes", [{"accumulate": 3}, {"gradient_checkpointing": True}])
def test_what_saves_memory_leaves_the_gradient_alone(base: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    plain, thrifty = started(base, tmp_path), started(base, tmp_path, **changes)
    assert plain._gradient(0).tolist() == pytest.approx(thrifty._gradient(0).tolist(), rel=1e-4)
    for one, other in zip(plain.parameters, thrifty.parameters, strict=True):
        assert one.grad is not None and other.grad is not None
        assert torch.allclose(one.grad, other.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("ema_decay", [0.5, 0.999, 0.0])
def test_the_averaged_weights_are_those_saved(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ema_decay: float
) -> None:
    after: list[dict[str, torch.Tensor]] = []
    update = DiffusionTrainer._update

    def keep(self: DiffusionTrainer) -> None:
        update(self)
        after.append({name: value.detach().clone() for name, value in self.model.state_dict().items()})

    monkeypatch.setattr(DiffusionTrainer, "_update", keep)
    out = run(base, tmp_path / "out", ema_decay=ema_decay)
    average = after[0]
    for number, weights in enumerate(after[1:], start=1):
        decay = min(ema_decay, (1 + number) / (10 + number))
        average = {name: decay * average[name] + (1 - decay) * value for name, value in weights.items()}
    for name, saved in load_file(out / UNET).items():
        assert torch.allclose(saved, average[name].half(), rtol=2e-3, atol=1e-6), name


@each_kind
def test_the_record_says_what_it_was_made_from(base: Path, trained: dict[str, Path], kind: str) -> None:
    text = (trained[kind] / ("class_model.json" if kind == "class" else "finetune.json")).read_text()
    record = json.loads(text)
    job = training_inputs(objective(base, kind), "cpu", 1)
    assert {name: record[name] for name in job} == job
    weights = identity(GeneratorConfig(model=str(base)))["weights_sha256"]
    assert (record["base"], record["base_sha256"], record["steps"]) == (base.name, weights, 8)
    assert (record["images"], record["images_fingerprint"]) == (12, images().fingerprint)
    assert record["classes" if kind == "class" else "captions"] == (3 if kind == "class" else 6)
    assert record["torch_version"] == torch.__version__
    assert "/" not in text


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        ("full", {"learning_rate": 1e-3}, "fine-tune.*\n  learning_rate: there 0.01, asked for 0.001$"),
        ("full", {"on": Subset(images(), [0, 4, 8])}, "fine-tune.*\n  images: there 12, asked for 3\n"),
        ("class", {"depth": 3}, "class model.*\n  depth: there 2, asked for 3$"),
    ],
)
def test_a_folder_of_another_training_is_refused_and_kept(
    base: Path, trained: dict[str, Path], kind: str, changes: dict[str, Any], says: str
) -> None:
    before = contents(trained[kind])
    with pytest.raises(UserError, match=f"holds another {says}"):
        run(base, trained[kind], kind, **changes)
    assert contents(trained[kind]) == before


def test_a_folder_of_other_files_such_as_the_base_itself_is_refused(base: Path, tmp_path: Path) -> None:
    before = contents(base)
    with pytest.raises(UserError, match=r"holds other files \(model_index.json.*choose another folder"):
        run(base, base)
    assert contents(base) == before
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write to .*file"):
        run(base, tmp_path / "file" / "out")


def test_out_of_memory_says_what_to_lower(base: Path, tmp_path: Path) -> None:
    with pytest.raises(GenrobustError, match=r"out of memory on cpu.*accumulate.*checkpointing.*lora.*batch_size"):
        run(base, tmp_path / "out", batch_size=10**15)  # beyond any address space


def test_a_generator_of_another_engine_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"generator\.engine is other"):
        run(GeneratorConfig(model=str(base), engine="other"), tmp_path / "out")
