"""The list of reports has each report with its answer, and the keys that differ between two of one study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_study import genrobust

from genrobust.tools.reports.finished_reports import read_reports


@pytest.mark.usefixtures("own_run")
def test_reports_of_one_study_are_listed_with_what_differs():
    genrobust("run", "own.yaml", "--quick", "--set", "seeds=[5]")
    newest, oldest = read_reports(Path("runs"))
    assert newest.options == "--quick --set seeds=[5]" and not oldest.options
    assert (newest.name, newest.arms) == ("own", "2 arms, 1 seed")
    assert oldest.changes == ()
    changes = {line.partition(":")[0]: line for line in newest.changes}
    assert {*changes} == {"seeds", "train.steps"} and "1 here" in changes["train.steps"]
    told = json.loads(Path("runs", newest.folder, "results.json").read_text())
    assert newest.answer == told["answer"][0]

    said = genrobust("reports").stdout
    assert "runs/index.html" in said and "train.steps" in said
    page = Path("runs/index.html").read_text()
    for report in (newest, oldest):
        assert f'href="{report.folder}/report.html"' in page


@pytest.mark.usefixtures("own_run")
def test_a_value_of_a_recipe_cannot_change_the_page():
    genrobust("run", "own.yaml", "--quick", "--set", "title=<script>alert(1)</script>")
    genrobust("reports")
    assert "<script>alert" not in Path("runs/index.html").read_text()


def test_a_folder_without_reports_is_a_mistake(tmp_path):
    genrobust("reports", tmp_path, code=2, said="holds no report")
    genrobust("reports", tmp_path / "none", code=2, said="none")
