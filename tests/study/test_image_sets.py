"""What a CLIP is shown of a class: descriptions, and never the instructions of an editing model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from genrobust.recipe import parse_recipe
from genrobust.study.context import Context
from genrobust.study.image_sets import prompt_templates

TEXT = "turn this {} into a sketch"


@pytest.mark.parametrize(("mode", "shown"), [("labels", (TEXT,)), ("edit", ())])
def test_of_a_dataset(mode: str, shown: tuple[str, ...]) -> None:
    rows: dict[str, Any] = {"template": [TEXT, "gray", None], "status": ["ok"] * 3, "mode": [mode] * 3}
    shards: Any = SimpleNamespace(metadata=lambda columns: pa.table(rows).select(list(columns)))
    assert prompt_templates(shards) == shown


@pytest.mark.parametrize(("mode", "count"), [("labels", 1), ("edit", 28)])
def test_of_a_recipe(mode: str, count: int, tmp_path: Path) -> None:
    raw = {"name": "x", "arms": [{"name": "real", "mixture": "real"}], "generator": {"mode": mode}}
    texts = Context(parse_recipe(raw | {"generate": {"prompts": {"templates": [TEXT]}}}), tmp_path).class_texts
    assert {len(of_class) for of_class in texts} == {count}
    assert any("turn" in text for text in texts[0]) == (mode == "labels")
