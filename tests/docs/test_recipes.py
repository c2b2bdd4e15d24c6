"""The pieces of recipes in the documentation are valid ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pages import PAGES, blocks

from genrobust.recipe import GroupRule, load_recipe

PIECES = [(page, code) for page in PAGES for code in blocks(page, "yaml")]
REST = {"name": "docs", "arms": [{"name": "real", "mixture": "real"}]}


@pytest.mark.parametrize(("page", "code"), PIECES, ids=[f"{page.stem}-{n}" for n, (page, _) in enumerate(PIECES)])
def test_a_piece_completes_a_recipe(page: Path, code: str, tmp_path: Path) -> None:
    piece = yaml.safe_load(code)
    rest = REST if "sweep" not in piece else {"name": "docs"}
    file = tmp_path / "docs.yaml"
    file.write_text(yaml.safe_dump({**rest, **piece}), encoding="utf-8")
    for quick in {False, "quick" in piece}:
        assert load_recipe(str(file), quick=quick).arms


def test_a_pattern_of_the_documentation_finds_the_group_beside_it() -> None:
    (page,) = (page for page in PAGES if page.stem == "own-data-more")
    rows = re.findall(
        r"^[|] `([^`]+)`[^|]*[|] `([^`]+)` [|] `([^`]+)` [|]$", page.read_text(encoding="utf-8"), flags=re.M
    )
    assert len(rows) == 5
    for path, pattern, group in rows:
        found = re.search(str(GroupRule(pattern=pattern).pattern), path)
        assert found is not None and found[1] == group, path
