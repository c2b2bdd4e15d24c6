"""Trainings that are killed at any point end, when they are run again, in the same bytes as undisturbed ones.

make test kills one classifier's training and one generator's; make test-all those that keep more state. The stages of
a study are killed in study/test_kill.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kill_and_resume import Call, Starter, kill_and_resume

HOT = 2.0**26  # no float16 holds a gradient times so much: the first steps are skipped
HALF = {"precision": "float16"}
MOVED = {"mixup": 0.4, "cutmix": 1.0, "random_erasing": 0.5}
PAPER = {"optimizer": "momentum", "schedule": "linear", "weight_decay": 1.0, "no_decay": ["bn"], "blur_pool": True}
PAPER |= {"ema_decay": 0.0, "keep": "last", "steps": None, "epochs": 0.3, "warmup_steps": None, "warmup_epochs": 0.1}
Networks = Callable[[str], Path]


@pytest.fixture
def networks(timm_folders: dict[str, Path], request: pytest.FixtureRequest) -> Networks:
    """Folders of tiny pretrained networks."""
    return lambda kind: request.getfixturevalue("clip_folder") if kind == "clip" else timm_folders[kind]


def thorough(*case: Any) -> Any:
    return pytest.param(*case, marks=pytest.mark.thorough)


@pytest.mark.parametrize(
    ("init", "changes"),
    [
        (None, {}),
        thorough(None, {"optimizer": "sgd"} | HALF | MOVED),
        thorough(None, PAPER),
        thorough("resnet", {"steps": 9}),
        thorough("clip", {"method": "lp-ft", "steps": 9}),
    ],
    ids=str,
)
def test_a_classifier(
    start: Starter, networks: Networks, tmp_path: Path, init: str | None, changes: dict[str, Any]
) -> None:
    out = tmp_path / "out"
    given = {**changes, **({"init": str(networks(init))} if init else {})}
    first_scale = HOT / 4 if "precision" in changes else None
    arguments = {"out": str(out), "changes": given, "first_scale": first_scale}
    made = kill_and_resume(start, Call("train/small_job.py", "run", arguments), out, kills=2)
    begins = {"initial.safetensors"} if init else set()
    assert made.keys() == {"manifest.json", "model.safetensors"} | begins


@pytest.mark.parametrize(
    ("kind", "changes"),
    [thorough("lora", {}), thorough("full", HALF | {"steps": 12}), thorough("class", {})],
    ids=str,
)
def test_a_generator(start: Starter, generator: Path, tmp_path: Path, kind: str, changes: dict[str, Any]) -> None:
    out, first_scale = tmp_path / "out", HOT if changes else None
    arguments = {"base": str(generator), "out": str(out), "kind": kind, "changes": changes, "first_scale": first_scale}
    made = kill_and_resume(start, Call("generate/train/small_training.py", "run_in_process", arguments), out, kills=2)
    assert "manifest.json" in made and not [name for name in made if "state-" in name]
