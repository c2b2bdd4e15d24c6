"""A test set whose labels are permuted is called so by all commands that measure accuracy on it."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from small_study import QUICK, TRAIN, folders_section, genrobust

COLORS = {"cat": (220, 40, 40), "dog": (40, 200, 40), "owl": (40, 40, 220)}
PERMUTED = {"cat": "dog", "dog": "owl", "owl": "cat"}
ARMS = [{"name": "real", "mixture": "real"}, {"name": "half", "mixture": [{"source": "real", "fraction": 0.5}]}]


def squares(folder, each, names=None, noise=40):
    """Noisy squares, each class of a color of its own, in folders of these `names`."""
    rng = np.random.default_rng([each, noise])
    for name, color in COLORS.items():
        place = folder / (names or {}).get(name, name)
        place.mkdir(parents=True)
        for i in range(each):
            pixels = np.clip(color + rng.normal(0, noise, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(place / f"{i}.png")
    return folder


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sets = {"train": squares(Path("train"), 30), "test": squares(Path("test"), 20, PERMUTED)}
    data = folders_section({**sets, "noisy": squares(Path("noisy"), 20, noise=60)})
    settings = {"arms": ARMS, "train": {**TRAIN, "steps": 60}, "evaluate": {"min_images": 20}}
    recipe = {**QUICK, "data": data, **settings, "robustness": {"baselines": None, "bootstrap": 100}}
    Path("small.yaml").write_text(yaml.safe_dump(recipe))
    genrobust("run", "small.yaml")


@pytest.mark.usefixtures("study")
def test_permuted_labels_are_named():
    (results,) = {path.resolve() for path in Path("runs").glob("*/results.json")}
    (warning,) = (words for words in json.loads(results.read_text())["answer"] if words.startswith("Warning: "))
    assert "on test, " in warning and "guessing (33.3 %)" in warning and "100.0 % on validation images" in warning
    html = results.with_name("report.html").read_text()
    assert html.index("Warning: on test") < html.index('class="verdict"')
    shown = genrobust("run", "small.yaml").stdout
    assert warning in " ".join(shown.split())
    evaluated = genrobust("evaluate", "small.yaml", said="real, seed 0 on test: 0.0 % (")
    assert "on noisy" not in evaluated.stderr
    compared = genrobust("benchmark", "--models", "small.yaml:real", "--on", "noisy", "--real", "test").stdout
    assert "On test, no model reaches guessing" in compared and "On noisy" not in compared
