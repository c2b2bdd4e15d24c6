"""Names: none leaves its folder, no two are one, and each mistake names its key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import genrobust
from genrobust.core import UserError
from genrobust.recipe import load_recipe, parse_recipe, study_name
from genrobust.recipe.names import KEPT
from genrobust.study import census, estimates
from genrobust.study.steps import embeddings

REAL = {"name": "real", "mixture": "real"}
NO_LINE = [
    "",
    " ",
    " x",
    "x ",
    "a\nb",
    "a\tb",
    "a\0b",
    "\x1b[31mx",
    "x\u202ey",
    "a\u200bb",
    "a\u2028b",
    "\ud800",
    "a" * 201,
]
NO_FOLDER = [
    "..",
    ".",
    "../../y/home",
    "/abs",
    "a/b",
    "a\\b",
    ".hidden",
    "-x",
    "x.",
    "con",
    "NUL",
    "aux.txt",
    "com1.a.b",
]
NO_FOLDER += ["a:b", "a*", "a?", 'a"', "<a>", "a|b", "é" * 150, "checkpoints", "Generated", "rates.json", "PREDICTIONS"]
FINE = [
    "x",
    "my study",
    "v1.5 (full), +2",
    "日本語",
    "ключ",
    "console",
    "a_b-c",
    "real+0.1x",
    "a\u200cb",
    "a\u200db",
    "é" * 90,
]
PLACES: list[tuple[str, Any]] = [  # the key that a message names, and what puts a name there
    ("arms.1.name", lambda name: {"arms": [REAL, {"name": name, "mixture": "real"}]}),
    ("arms.0.group", lambda name: {"arms": [REAL | {"group": name}]}),
    ("arms.0.reference", lambda name: {"arms": [REAL | {"reference": name}]}),
    ("arms.0.mixture", lambda name: {"arms": [{"name": "real", "mixture": name}]}),
    ("reference", lambda name: {"reference": name}),
    ("datasets", lambda name: {"datasets": {name: {}}}),
    ("data.shifts", lambda name: {"data": {"shifts": {name: "x"}}}),
    ("data.extra", lambda name: {"data": {"extra": {name: "x"}}}),
    ("datasets.x.filter.arm", lambda name: {"datasets": {"x": {"filter": {"drop": 0.1, "arm": name}}}}),
]


def refusal(change: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        parse_recipe({"name": "small", "arms": [REAL], **change}, where="mine.yaml")
    message = str(caught.value)
    assert message.startswith("mine.yaml: ") and len(message.splitlines()) <= 3
    assert all(line.isprintable() for line in message.splitlines())
    return message


@pytest.mark.parametrize("name", [*NO_LINE, *NO_FOLDER])
def test_a_study_is_called_as_its_folder_can_be(name: str) -> None:
    assert "mine.yaml: name: " in refusal({"name": name})


@pytest.mark.parametrize("name", FINE)
def test_a_good_name_is_kept(name: str) -> None:
    arms = [REAL, {"name": name, "mixture": ["real", name], "group": f"{name}s"}]
    recipe = parse_recipe({"name": name, "arms": arms, "datasets": {name: {}}, "reference": name})
    assert (recipe.name, recipe.arms[1].name, list(recipe.datasets), recipe.reference) == (name, name, [name], name)


@pytest.mark.parametrize(("key", "change"), PLACES, ids=[key for key, _ in PLACES])
def test_every_name_is_one_visible_line(key: str, change: Any) -> None:
    assert key.removesuffix(".name").removesuffix(".arm") in refusal(change("a\nb"))


def test_what_a_study_keeps_is_no_name_of_a_study() -> None:
    sources = (Path(genrobust.__file__).parent / "study").rglob("*.py")
    written = {
        name
        for file in sources
        for name in re.findall(r'\b(?:context\.out|study\.out|runs) / "([\w.-]+)"', file.read_text())
    }
    assert {"predictions", "checkpoints", "generated"} <= written
    assert {*written, census.ROOM, embeddings.FOLDER, estimates.RATES} <= KEPT
    for name in KEPT:
        refusal({"name": name})


@pytest.mark.parametrize("stem", ["study", "My Study", "con", "checkpoints", "..", "-", "鍵", "a" * 300, "\udc80"])
def test_the_name_of_a_file_becomes_that_of_a_study(stem: str) -> None:
    assert parse_recipe({"name": study_name(stem), "arms": [REAL]}).name


def test_a_name_may_come_from_set_and_quick_too(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("name: x\narms: [{name: real, mixture: real}]\nquick: {train.steps: 5}\n")
    for sets in (["name=../x"], ["name='a\n\nb'"], ["name="], ["name=[x]"], ["name=5"]):
        with pytest.raises(UserError, match="name: "):
            load_recipe(str(path), sets, quick=True)
    path.write_text("name: [x]\narms: [{name: real, mixture: real}]\nquick: {train.steps: 5}\n")
    with pytest.raises(UserError, match="name: "):
        load_recipe(str(path), quick=True)
