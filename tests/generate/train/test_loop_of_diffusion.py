"""The training loop of diffusion models survives kills, skips steps that overflow, and names what went wrong."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from kill_and_resume import Call, Starter, contents, kill_and_resume
from safetensors.torch import load_file
from training_job import KINDS, run

from genrobust.classifiers import training_state
from genrobust.core.errors import GenrobustError, UserError
from genrobust.generate.train.loop import DiffusionTrainer

HALF = {"precision": "float16", "steps": 12}
HOT = 2.0**26  # no float16 holds a gradient times so much


@pytest.mark.parametrize(
    ("kind", "changes"), [*((kind, {}) for kind in KINDS), ("lora", {"first_scale": HOT, **HALF})], ids=str
)
def test_it_survives_kills(start: Starter, base: Path, tmp_path: Path, kind: str, changes: dict[str, Any]) -> None:
    arguments = {"base": str(base), "out": str(tmp_path / "out"), "kind": kind, **changes}
    made = kill_and_resume(start, Call("generate/training_job.py", "run", arguments), tmp_path / "out", kills=2)
    assert {"class": "class_model.json"}.get(kind, "finetune.json") in made
    assert "state.safetensors" not in made


def test_a_step_whose_gradients_overflow_is_skipped_unless_they_do_at_any_scale(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, scales = DiffusionTrainer._update, [HOT]

    def look(self: DiffusionTrainer) -> None:
        update(self)
        scales.append(self.scaler.get_scale())

    monkeypatch.setattr(DiffusionTrainer, "_update", look)
    run(base, tmp_path / "out", first_scale=HOT, **HALF)
    skipped = [after < before for before, after in pairwise(scales)]
    assert skipped[0] and not skipped[-1]
    monkeypatch.setattr(training_state, "LEAST_SCALE", 2.0**27)
    with pytest.raises(GenrobustError, match=r"finetune\.precision"):
        run(base, tmp_path / "hopeless", first_scale=HOT, **HALF)


def test_the_state_of_another_training_is_refused_and_kept(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: DiffusionTrainer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(DiffusionTrainer, "averaged", stop)  # when the last state was saved
    with pytest.raises(KeyboardInterrupt):
        run(base, tmp_path, steps=9)
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"another fine-tune.*\n  steps: there 9, asked for 8$"):
        run(base, tmp_path)
    assert contents(tmp_path) == before


def test_a_damaged_state_is_named_and_kept(base: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    state.write_bytes(b"not safetensors")
    with pytest.raises(GenrobustError, match=r"state\.safetensors.*delete it"):
        run(base, tmp_path)
    assert state.read_bytes() == b"not safetensors"


@pytest.mark.parametrize(("save_every", "kept"), [(1, "The state of step 1 is kept"), (100, "No state was saved yet")])
def test_a_loss_that_is_no_number_names_the_step_and_keeps_a_good_state(
    base: Path, tmp_path: Path, save_every: int, kept: str
) -> None:
    # The rate is 0 at the first step, so the second is the first to change a weight, and the third the first to fail.
    with pytest.raises(GenrobustError, match=rf"at step 3 in .*finetune\.learning_rate \(now 1e\+30\).*{kept}"):
        run(base, tmp_path, learning_rate=1e30, save_every=save_every)
    state = tmp_path / "state.safetensors"
    assert state.exists() == (save_every == 1)
    assert not state.exists() or all(value.isfinite().all() for value in load_file(state).values())
    assert not (tmp_path / "finetune.json").exists()
