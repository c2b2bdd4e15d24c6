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
from genrobust.store import Artifact, made_by, made_by_others

MAKERS = ("genrobust.train.loop", "genrobust.data.memory")
MAKE = f"""
import json
from genrobust.store import made_by
print(json.dumps(made_by(*{MAKERS})))
"""
COMPARE = """
import json, sys
from genrobust.store import made_by_others
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


def test_the_makers_do_not_depend_on_what_is_loaded(made: dict[str, dict[str, str]]) -> None:
    assert json.loads(json.dumps(made_by(*MAKERS))) == made
    assert len(json.dumps(made)) < 6000


# Modules that decide the bytes of each kind of artifact in a study with images in folders: the training and its
# settings, the decoding of images, the engine and its mode, and the source of the classifier.
DECIDE = {
    "checkpoint": {"train.loop", "recipe.train", "recipe.numbers", "data.image_files", "train.methods.full"},
    "dataset": {"generate.generation", "generate.engines.diffusers", "generate.modes.labels", "data.shard_files"},
    "predictions": {"classifiers.predict.predict_sets", "classifiers.sources.own_checkpoints", "data.image_files"},
}
# Packages and modules that no artifact of such a study reaches.
UNREACHED = {"cli", "report", "tools", "data.readers", "data.tar_files", "data.parquet_files"}


@pytest.mark.parametrize("kind", DECIDE)
def test_the_manifests_of_a_study_name_the_modules_that_decide_the_bytes(finished: Path, kind: str) -> None:
    folders = [path.parent for path in (finished / "runs").rglob("manifest.json")]
    manifests = [Artifact(folder).manifest() for folder in folders]
    codes = [manifest.made_by["code"] for manifest in manifests if manifest.kind == kind]
    assert codes
    for code in codes:
        assert DECIDE[kind] <= code.keys()
        packages = {".".join(name.split(".")[:count]) for name in code for count in (1, 2, 3)}
        assert not packages & UNREACHED


CLOSURE = {
    "__init__.py": "",
    "__init__.pyi": "from .inner.public import offered as offered\nfrom .unused import other as other",
    "root.py": "from genrobust.sample import offered\nimport genrobust.sample.plain",
    "plain.py": "def late():\n    from genrobust.sample import module\n    from genrobust.sample.package import name",
    "module.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from genrobust.sample import other",
    "unused.py": "import genrobust.sample.root\nother = 1",
    "inner/public.py": "offered = 1",
    "package/__init__.py": "name = 1",
}


def test_the_import_closure_follows_stubs_and_late_imports_and_no_annotations(source: Path) -> None:
    folder = source / "genrobust" / "sample"
    for name, text in CLOSURE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    script = 'import json; from genrobust.store import made_by; print(json.dumps(made_by("genrobust.sample.root")))'
    reached = {"root", "plain", "module", "package", "inner.public"}
    assert run(source, script)["code"].keys() == {f"sample.{name}" for name in reached}


SAMPLE = """
class Sample(tuple):
    def add(self, *more: int, empty=(), none=None) -> list[int]:
        return [f"{one!r:>4} é\\n" for one in (*self, *more) if one not in [] and (lambda: one)()]
"""


def test_every_version_of_python_gives_a_module_the_same_hash(source: Path, made: dict[str, dict[str, str]]) -> None:
    (source / "genrobust" / "core" / "sample.py").write_text(SAMPLE, encoding="utf-8")
    then = {**made, "code": {"core.sample": "4e21f758"}}
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
        ("recipe/train", "code", True),
        ("data/image_files", "code", True),
        ("data/tar_files", "code", False),
        ("report/report_files", "code", False),
        ("cli/options", "code", False),
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
    different = run(source, COMPARE, json.dumps(made))
    path.write_text(text)
    assert list(different) == ([f"genrobust.{module.replace('/', '.')}"] if noticed else [])


def test_a_module_that_is_gone_and_other_versions_are_named() -> None:
    here = made_by(*MAKERS)
    assert made_by_others(here) == {} and {"genrobust", "torch", "diffusers"} <= here.keys()
    code = {**here["code"], "train.gone": "abc"}
    older = {**here, "torch": "1.0", "code": code, "gone-plugin": "2.0 def"}
    assert made_by_others(older) == {
        "torch": ("1.0", here["torch"]),
        "genrobust.train.gone": ("abc", ""),
        "gone-plugin": ("2.0 def", ""),
    }
