"""Files beside a recipe that are called as Python's own modules are: no process that is started here runs them."""

import subprocess
import sys
from pathlib import Path

import pytest
from scribe import work
from small import recipe_of, written
from small_study import CLASSES, REAL, folders_section

from genrobust.study import Processes

HERE = Path(__file__).parent
NAMES = (
    *("abc", "argparse", "ast", "asyncio", "base64", "collections", "copy", "copyreg", "csv", "ctypes", "dataclasses"),
    *("datetime", "enum", "functools", "hashlib", "inspect", "json", "logging", "operator", "pickle", "platform"),
    *("queue", "random", "re", "selectors", "shutil", "signal", "site", "sitecustomize", "socket", "string", "struct"),
    *("subprocess", "tempfile", "threading", "tokenize", "types", "typing", "warnings", "weakref", "numpy", "torch"),
)
COMMAND = "from genrobust.cli import main\n\nif __name__ == '__main__':\n    main()\n"
ON_RAY = """
from pathlib import Path

from scribe import work
from small_study import recipe_of

from genrobust.study import open_executor

open_executor(recipe_of(device="cpu"), Path(r"{folder}"), "ray").run(work(Path(r"{folder}"), "write:a"))
"""


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """The current folder, with a file of each of the names that leaves its name in the folder witnesses."""
    folder = tmp_path / "planted"
    for place in (folder, tmp_path / "witnesses"):
        place.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'witnesses' / name)!r}, 'w').close()\n")
    monkeypatch.chdir(folder)
    yield folder
    assert not [path.name for path in (tmp_path / "witnesses").iterdir()]


def run_script(text, tmp_path, *words):
    """Run a script of another folder, whose own path Python starts with."""
    (tmp_path / "script").mkdir()
    script = tmp_path / "script" / "genrobust"
    script.write_text(text)
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.thorough
def test_workers(planted, tmp_path):
    Processes(recipe_of(device="cpu"), 2).run(work(tmp_path, "write:a", "write:b"))


@pytest.mark.thorough
def test_a_study_of_two_workers(planted, write_folder, tmp_path):
    sets = {name: write_folder(name, name, 4, CLASSES) for name in ("train", "test")}
    train = {"architecture": "test_resnet", "image_size": 32, "steps": 2, "batch_size": 4, "warmup_steps": 0}
    recipe = recipe_of(
        threads=1,
        device="cpu",
        data=folders_section(sets),
        generator=None,
        train=train | {"precision": "float32"},
        arms=[REAL],
        seeds=[0, 1],
        robustness={"baselines": None},
    )
    words = "train", written(recipe, planted), "--workers", "2", "--out", tmp_path / "runs"
    run_script(COMMAND, tmp_path, *words)


@pytest.mark.thorough
def test_a_ray_that_is_started_here(planted, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ":".join([str(HERE), *filter(None, sys.path)]))
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")  # the paths of its sockets must be short
    run_script(ON_RAY.format(folder=tmp_path), tmp_path)
