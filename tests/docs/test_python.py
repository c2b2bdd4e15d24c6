"""The Python in the documentation runs, and the public names are what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import DOCS, blocks

import genrobust
from genrobust import load_recipe


def test_public_names_are_there_and_no_others() -> None:
    assert all(getattr(genrobust, name).__name__ == name for name in genrobust.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = genrobust.nothing


def test_the_page_documents_all_public_names() -> None:
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    assert {line.split("genrobust.")[1] for line in page.splitlines() if line.startswith("::: ")} == {
        *genrobust.__all__
    }


@pytest.mark.thorough
def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for code in blocks(DOCS / "python.md", "python"):
        exec(code, scope)
    told = capsys.readouterr().out.splitlines()
    arms = [arm.name for arm in load_recipe("pictograms").arms]
    summary, (report, images, weights, *rest) = told[: len(arms)], told[len(arms) :]
    assert [line.split(":")[0] for line in summary] == arms
    assert re.fullmatch(r"runs/pictograms\S*/report\.html", report)
    assert images == "100 (64, 64)"
    assert re.fullmatch(r"runs/checkpoints/[\w-]+/model\.safetensors", weights)
    assert rest[:2] == ["resnet10t 50", "recipe: unknown key train.stesp; did you mean steps?"]
    shown, first, means, gain, robustness = rest[2:]
    assert shown == "ShardDataset(name='generated', images=100, classes=100)"
    assert first == "(64, 64) airplane"
    assert [float(value) for value in re.findall(r"[\d.]+(?=[,}])", means)] == [
        float(re.findall(r": ([\d.]+) %", line)[0]) for line in summary
    ]
    assert gain.startswith("+") and gain.endswith("holds")
    assert float(re.findall(r"[\d.]+", robustness)[0]) == pytest.approx(6.3, abs=0.1)
    assert all((tmp_path / name).is_file() for name in (report, weights))
