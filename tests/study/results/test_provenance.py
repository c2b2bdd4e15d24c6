"""Old results are never taken for new: two copies of the package that differ in a line, and one output folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small_study import QUICK, REAL, TRAIN, folders_section

import genrobust
from genrobust.core import UserError
from genrobust.store import Artifact, Manifest, made_by
from genrobust.study.provenance import Makers, describe_makers, makers_of, require_same_makers


def test_unfinished_work_of_other_versions_is_refused(tmp_path: Path) -> None:
    own, other = Artifact(tmp_path / "own"), Artifact(tmp_path / "other")
    for artifact, versions in ((own, {}), (other, {"timm": "0.1"})):
        artifact.folder.mkdir()
        artifact.begin(Manifest("dataset", made_by={**made_by("genrobust.generate.run"), **versions}))
    require_same_makers(own.folder)
    with pytest.raises(UserError, match=r"timm 0\.1"):
        require_same_makers(other.folder)
    assert own.is_begun and other.is_begun


@pytest.mark.thorough
def test_another_copy_of_the_package_names_what_it_reuses(write_folder, tmp_path: Path) -> None:
    folders = {name: write_folder(name, name, 2, {"bell": "bell", "tree": "tree"}) for name in ("train", "test")}
    recipe = tmp_path / "own.yaml"
    short = {"train": TRAIN, "robustness": {"bootstrap": 100}}
    settings = {**QUICK, **short, "name": "own", "data": folders_section(folders), "arms": [REAL]}
    recipe.write_text(yaml.safe_dump(settings))
    copy = tmp_path / "src"
    shutil.copytree(Path(genrobust.__file__).parent, copy / "genrobust", ignore=shutil.ignore_patterns("__pycache__"))
    changed, unused = (copy / "genrobust" / path for path in ("recipe/train.py", "data/tar_files.py"))
    changed.write_text(changed.read_text() + "# a comment\n")
    unused.write_text(unused.read_text() + "one_more = True\n")
    sources = Path(genrobust.__file__).parents[1]

    def run(source: Path, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "genrobust", *words, "--out", str(tmp_path / "runs")]
        environment = {**os.environ, "PYTHONPATH": str(source)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)

    assert run(sources, "run", str(recipe)).returncode == 0
    for source in (sources, copy):
        shown = run(source, "show", str(recipe))
        assert shown.returncode == 0 and "made with" not in shown.stdout
    changed.write_text(changed.read_text() + "one_more = True\n")
    other = run(copy, "run", str(recipe))
    assert other.returncode == 0
    assert "1 checkpoint made with" in other.stderr and "1 module of genrobust (recipe.train)" in other.stderr


def test_artifacts_of_one_code_are_counted_together(tmp_path: Path) -> None:
    for number, code in enumerate(({"train.loop": "1"}, {"train.loop": "2"}, {"train.loop": "1"})):
        artifact = Artifact(tmp_path / str(number))
        artifact.folder.mkdir()
        artifact.publish(Manifest("checkpoint", made_by={"torch": "2", "code": code}))
    makers = makers_of(tmp_path / str(number) for number in (0, 1, 2, 2))
    assert [(made.count, made.made_by["code"]["train.loop"]) for made in makers] == [(2, "1"), (1, "2")]
    first, second = describe_makers(makers)
    assert first.versions["torch"] == "2" and first.versions["code"] != second.versions["code"]


def test_artifacts_that_need_different_modules_of_one_code_count_together_in_a_report() -> None:
    codes = ({"train.loop": "1", "data.memory": "1"}, {"train.loop": "1", "data.shards": "1"}, {"train.loop": "2"})
    makers = [Makers("checkpoint", {"torch": "2", "code": code}, 3) for code in codes]
    assert [made.count for made in describe_makers(makers)] == [6, 3]
