"""Old results are never taken for new: two copies of the package that differ in a line, and one output folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from small_study import QUICK, REAL, TRAIN, folders_section

import genrobust
from genrobust.core import Artifact, Manifest, UserError, made_by, made_by_others
from genrobust.study.results.provenance import require_same_makers


def test_versions_and_code_are_compared_by_kind(tmp_path: Path) -> None:
    here = made_by("dataset")
    assert here["code"] != made_by("checkpoint")["code"] and {"genrobust", "torch", "diffusers"} <= here.keys()
    assert made_by_others(Manifest("dataset", made_by=here)) == {}
    older = Manifest("dataset", made_by={**here, "torch": "1.0", "code": "abc", "gone-plugin": "2.0 def"})
    assert made_by_others(older) == {
        "torch": ("1.0", here["torch"]),
        "code": ("abc", here["code"]),
        "gone-plugin": ("2.0 def", ""),
    }


@pytest.mark.parametrize("anew", [False, True])
def test_unfinished_work_of_other_versions_is_refused_or_begun_anew(tmp_path: Path, anew: bool) -> None:
    own, other = Artifact(tmp_path / "own"), Artifact(tmp_path / "other")
    for artifact, versions in ((own, {}), (other, {"timm": "0.1"})):
        artifact.folder.mkdir()
        artifact.begin(Manifest("dataset", made_by={**made_by("dataset"), **versions}))
        require = require_same_makers
        if versions and not anew:
            with pytest.raises(UserError, match=r"timm 0\.1 .*--anew"):
                require(artifact.folder, anew)
        else:
            require(artifact.folder, anew)
    assert own.is_begun and other.is_begun is not anew


@pytest.mark.thorough
def test_another_copy_of_the_package_names_what_it_reuses(write_folder, tmp_path: Path) -> None:
    folders = {name: write_folder(name, name, 2, {"bell": "bell", "tree": "tree"}) for name in ("train", "test")}
    recipe = tmp_path / "own.yaml"
    short = {"train": TRAIN, "robustness": {"bootstrap": 100}}
    settings = {**QUICK, **short, "name": "own", "data": folders_section(folders), "arms": [REAL]}
    recipe.write_text(yaml.safe_dump(settings))
    copy = tmp_path / "src"
    shutil.copytree(Path(genrobust.__file__).parent, copy / "genrobust", ignore=shutil.ignore_patterns("__pycache__"))
    changed = copy / "genrobust" / "train" / "augment.py"
    changed.write_text(changed.read_text() + "# one line more\n")
    sources = Path(genrobust.__file__).parents[1]

    def run(source: Path, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "genrobust", *words, "--out", str(tmp_path / "runs")]
        environment = {**os.environ, "PYTHONPATH": str(source)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)

    assert run(sources, "run", str(recipe)).returncode == 0
    again = run(sources, "run", str(recipe), "--same-versions")
    assert again.returncode == 0 and "made by" not in again.stderr
    other = run(copy, "run", str(recipe))
    assert other.returncode == 0 and "1 checkpoint made by code" in other.stderr
    for command in ("run", "show"):
        refused = run(copy, command, str(recipe), "--same-versions")
        assert refused.returncode == 2 and "checkpoint" in refused.stderr
    results = json.loads((tmp_path / "runs" / "own" / "results.json").read_text())
    codes = {made["kind"]: made["versions"]["code"] for made in results["made_by"]}
    assert codes["checkpoint"] == made_by("checkpoint")["code"]
