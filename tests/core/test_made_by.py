"""What made an artifact: a change in what took part is noticed, any other is not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import genrobust
from genrobust.core import made_by, made_by_others

MAKE = """
import json
from genrobust.core import made_by
print(json.dumps({kind: made_by(kind) for kind in ("checkpoint", "dataset")}))
"""
COMPARE = """
import json, sys
from genrobust.core import made_by_others
print(json.dumps(made_by_others(json.load(sys.stdin))))
"""


def run(source: Path, script: str, given: str = "") -> dict[str, dict[str, str]]:
    environment = {**os.environ, "PYTHONPATH": str(source)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, input=given, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("src")
    package = Path(genrobust.__file__).parent
    shutil.copytree(package, source / "genrobust", ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    return source


@pytest.fixture(scope="module")
def made(source: Path) -> dict[str, dict[str, str]]:
    return run(source, MAKE)


def test_the_modules_that_took_part_are_recorded_in_little_space(made: dict[str, dict[str, str]]) -> None:
    code = made["checkpoint"]["code"]
    assert {"core.images", "train.loop", "train.mixture", "train.augmentations.styles"} <= code.keys()
    assert "data.readers.objectnet" not in code
    assert {name.partition(".")[0] for name in code} <= {"core", "data", "classifiers", "train"}
    assert len(json.dumps(code)) < 6000
    assert not any(name.startswith("train.") for name in made["dataset"]["code"])


@pytest.mark.parametrize(
    ("kind", "module", "takes_part"),
    [
        ("dataset", "classifiers.precision", True),
        ("generator", "classifiers.precision", True),
        ("generator", "classifiers.networks.training_state", True),
        ("packed", "train.packed.copies", True),
        ("packed", "train.loop", False),
    ],
)
def test_a_kind_names_the_modules_that_decide_its_bytes(kind: str, module: str, takes_part: bool) -> None:
    assert (module in made_by(kind)["code"]) == takes_part


SAMPLE = """
class Sample(tuple):
    def add(self, *more: int, empty=(), none=None) -> list[int]:
        return [f"{one!r:>4} é\\n" for one in (*self, *more) if one not in [] and (lambda: one)()]
"""


def test_every_version_of_python_gives_a_module_the_same_hash(source: Path, made: dict[str, dict[str, str]]) -> None:
    (source / "genrobust" / "core" / "sample.py").write_text(SAMPLE, encoding="utf-8")
    then = {**made["dataset"], "code": {"core.sample": "4e21f758"}}
    assert run(source, COMPARE, json.dumps(then)) == {}


CHANGES = {  # of the text of a module
    "code": lambda text: f"{text}\nONE_MORE = True\n",
    "a comment": lambda text: text.replace("\nimport ", "\n# One more.\nimport ", 1),
    "a docstring": lambda text: text.replace('"""', '"""One more word: ', 1),
}


@pytest.mark.parametrize(
    ("module", "change", "noticed"),
    [
        ("train/loop", "code", True),
        ("train/loop", "a comment", False),
        ("train/loop", "a docstring", False),
        ("data/readers/objectnet", "code", False),
    ],
)
def test_a_change_of_code_that_took_part_is_noticed_and_no_other(
    source: Path, made: dict[str, dict[str, str]], module: str, change: str, noticed: bool
) -> None:
    path = source / "genrobust" / f"{module}.py"
    text = path.read_text()
    changed = CHANGES[change](text)
    assert changed != text
    path.write_text(changed)
    different = run(source, COMPARE, json.dumps(made["checkpoint"]))
    path.write_text(text)
    assert list(different) == ([f"genrobust.{module.replace('/', '.')}"] if noticed else [])


def test_a_module_that_is_gone_and_other_versions_are_named() -> None:
    here = made_by("checkpoint")
    assert made_by_others(here) == {} and {"genrobust", "torch", "diffusers"} <= here.keys()
    older = {**here, "torch": "1.0", "code": {**here["code"], "train.gone": "abc"}, "gone-plugin": "2.0 def"}
    assert made_by_others(older) == {
        "torch": ("1.0", here["torch"]),
        "genrobust.train.gone": ("abc", ""),
        "gone-plugin": ("2.0 def", ""),
    }
