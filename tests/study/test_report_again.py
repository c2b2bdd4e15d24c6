"""A report of saved predictions is written again without torch, and says the same."""

import json
import subprocess
import sys

import pytest
import yaml
from small_study import QUICK, REAL, TRAIN

from genrobust.core import UserError
from genrobust.recipe import parse_recipe
from genrobust.study import Study

RECIPE = {
    **QUICK,
    "train": TRAIN,
    "arms": [REAL, {"name": "half", "mixture": [{"source": "real", "fraction": 0.5}]}],
    "evaluate": {"tests": ["hand-drawn", "pixel"], "min_images": 50},
    "robustness": {"bootstrap": 100},
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
    words = ["run", str(recipe), "--out", str(out)]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert "genrobust.robustness.summary" in loaded
    assert loaded & {"torch", "timm", "transformers", "diffusers", "scipy.stats"} == set()
    after = json.loads(files["results.json"].read_text())
    assert after["summary"] == before["summary"]
    assert summary.arms == ("real", "half")


def test_the_images_to_choose_by_are_scored_where_they_are_named(tmp_path):
    assert "wild-val" not in Study(parse_recipe(RECIPE), tmp_path).data.tests
    found = Study(parse_recipe(RECIPE | {"evaluate": {"tests": ["pixel", "wild-val"]}}), tmp_path)
    assert found.tests[-1] == "wild-val" and found.data.tests["wild-val"] is found.data.shifted_val


CLAIM = {"says": "better", "arm": "half", "than": "real"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"claims": [CLAIM | {"metric": "top6"}]}, "claims.0.metric: .*'top6'"),
        (
            {"claims": [CLAIM | {"test_set": "solidd"}]},
            "test_set: .*'solidd'",
        ),
    ],
)
def test_what_is_not_scored_is_refused_before_anything_is_trained(tmp_path, change, said):
    with pytest.raises(UserError, match=said):
        Study(parse_recipe(RECIPE | change), tmp_path).run()
    assert not (tmp_path / "checkpoints").exists()
