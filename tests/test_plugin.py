"""A package of a third party, installed by pip, adds an engine, a figure and a reader: genrobust does not change."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from genrobust.core.images import StudyData

PLUGIN = Path(__file__).parent / "plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a Python in which the package is installed."""
    folder = tmp_path_factory.mktemp("site")
    words = [
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "--target",
        str(folder),
        str(PLUGIN),
    ]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}


def run(installed: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "genrobust", *words]
    return subprocess.run(command, env=installed, capture_output=True, text=True, check=False)


def test_a_recipe_names_them_and_a_report_shows_them(
    installed: dict[str, str], pictogram_data: StudyData, tmp_path: Path
) -> None:
    ids, solid = pictogram_data.labels.ids, pictogram_data.tests["solid"]
    shown = np.flatnonzero(solid.labels < 3)
    pixels = [np.asarray(solid.image(int(i)).convert("RGB").resize((64, 64))) for i in shown]
    np.savez(tmp_path / "three.npz", pixels=np.stack(pixels), classes=np.array(ids)[solid.labels[shown]])
    folders = {}
    for role, images in (("train", pictogram_data.train), ("test", pictogram_data.tests[pictogram_data.clean])):
        for label, id in enumerate(ids[:3]):
            folder = tmp_path / role / id
            folder.mkdir(parents=True)
            for i in np.flatnonzero(images.labels == label)[:4]:
                images.image(int(i)).save(folder / f"{i}.png")
        folders[role] = str(tmp_path / role)
    shift = {"kind": "arrays", "path": str(tmp_path / "three.npz")}
    recipe = {
        "name": "squares",
        "device": "cpu",
        "threads": 1,
        "data": {"source": "folders", **folders, "val": folders["test"], "shifts": {"shifted": shift}},
        "generator": {"engine": "squares", "model": "squares", "dtype": "float32"},
        "generate": {"per_class": 2},
        "train": {"architecture": "test_resnet", "image_size": 32, "steps": 2, "batch_size": 4, "warmup_steps": 0}
        | {"precision": "float32"},
        "evaluate": {"min_images": 1},
        "robustness": {"baselines": None, "bootstrap": 100},
        "arms": [{"name": "real", "mixture": "real"}, {"name": "generated", "mixture": "generated"}],
    }
    (tmp_path / "squares.yaml").write_text(yaml.safe_dump(recipe))
    done = run(installed, "run", str(tmp_path / "squares.yaml"), "--out", str(tmp_path / "runs"), "--no-estimate")
    assert done.returncode == 0, done.stderr
    report = tmp_path / "runs" / "squares"
    rows = [row for row in csv.DictReader((report / "results.csv").open()) if row["figure"] == "mean_confidence"]
    assert {(row["arm"], row["test_set"]) for row in rows} >= {("real", "shifted"), ("generated", "test")}
    assert all(1 / 3 <= float(row["value"]) <= 1 for row in rows if row["test_set"] == "shifted" and not row["minus"])
    assert "Mean confidence" in (report / "report.html").read_text()
    (manifest,) = (tmp_path / "runs" / "generated").glob("*/manifest.json")
    assert json.loads(manifest.read_text())["squares_version"] == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("generator.engine=circles", "generator.engine 'circles'"),
        ("data.shifts.shifted.kind=array", "data.shifts.shifted.kind"),
    ],
)
def test_an_unknown_name_lists_those_of_the_package_too(installed: dict[str, str], change: str, named: str) -> None:
    shift = "data.shifts={shifted: {kind: arrays, path: there}}"
    done = run(installed, "show", "pictograms", "--set", shift, "--set", change, "--no-estimate")
    said = " ".join(done.stderr.split())
    assert done.returncode == 2 and named in said and ("squares" in said or "arrays" in said), said
