"""A report of saved predictions is written again without torch, and says the same."""

import json
import subprocess
import sys

import pytest
import yaml

from genrobust.core.errors import UserError
from genrobust.recipe.load import parse_recipe
from genrobust.study.study import Study

RECIPE = {
    "name": "small",
    "threads": 1,
    "device": "cpu",
    "train": {"architecture": "test_resnet", "image_size": 32, "steps": 2, "batch_size": 4, "warmup_steps": 0}
    | {"precision": "float32"},
    "arms": [
        {"name": "real", "mixture": "real"},
        {"name": "half", "mixture": [{"source": "real", "fraction": 0.5}]},
    ],
    "evaluate": {"tests": ["hand-drawn", "pixel"], "min_images": 50},
    "robustness": {"bootstrap": 20},
}


def test_a_report_of_saved_predictions_loads_no_torch(tmp_path):
    out, recipe = tmp_path / "out", tmp_path / "small.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    study = Study(parse_recipe(RECIPE), out)
    _, first = study.run()
    notes = json.loads(first["results.json"].read_text())["notes"]
    summary, files = study.run()
    assert json.loads(files["results.json"].read_text())["notes"] == notes  # a second run adds none
    before = json.loads(files["results.json"].read_text())
    files["results.json"].unlink()
    tell = "atexit.register(lambda: print(json.dumps(list(sys.modules)), file=sys.stderr))"
    script = f"import atexit, json, sys; {tell}; sys.argv[0] = 'genrobust'; import genrobust.cli; genrobust.cli.main()"
    words = ["report", str(recipe), "--out", str(out)]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert "genrobust.robustness.summary" in loaded
    assert loaded & {"torch", "timm", "transformers", "diffusers", "scipy.stats"} == set()
    after = json.loads(files["results.json"].read_text())
    assert after["summary"] == before["summary"]
    assert summary.arms == ("real", "half")


def test_a_second_id_set_is_told_beside_the_usual_measure(tmp_path):
    change = {"robustness": {"bootstrap": 20, "second_id": "pixel"}}
    summary, files = Study(parse_recipe(RECIPE | change), tmp_path).run()
    assert (summary.shifts, list(summary.left_out)) == (("hand-drawn",), ["pixel"])
    assert list(summary.planes) == ["hand-drawn"]
    for page in ("report.html", "report.md"):
        assert "Effective robustness beyond test and pixel, points" in files[page].read_text()
    assert "multi_er" in files["results.csv"].read_text()
    assert json.loads(files["results.json"].read_text())["summary"]["second_id"] == "pixel"


def test_a_claim_about_an_unknown_figure_is_refused_before_anything_is_trained(tmp_path):
    claim = {"says": "better", "arm": "half", "than": "real", "figure": "top6"}
    with pytest.raises(UserError, match=r"claims.0.figure: no figure 'top6'; there are top1, er"):
        Study(parse_recipe(RECIPE | {"claims": [claim]}), tmp_path).run()
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("name", ["test", "emoji", "nonsense"])
def test_a_second_id_set_that_is_not_scored_is_refused_before_anything_is_trained(tmp_path, name):
    study = Study(parse_recipe(RECIPE | {"robustness": {"second_id": name}}), tmp_path)
    with pytest.raises(
        UserError, match=f"second_id: no shifted test set '{name}' is scored; there are hand-drawn, pix"
    ):
        study.run()
    assert not (tmp_path / "checkpoints").exists()
