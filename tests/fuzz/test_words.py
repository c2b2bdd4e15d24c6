"""Words on the command line and in recipes: whatever they are, a typed thing or an error that names them."""

from __future__ import annotations

from pathlib import Path

import pytest
from bounded import bounded
from hostile_files import OWN
from hypothesis import given, settings, strategies as st
from mutating import WORDS

from genrobust.core import ClassLabel, GenrobustError, LabelSpace
from genrobust.generate import Plan, class_templates
from genrobust.recipe import PromptConfig, load_recipe

FIXED = settings(max_examples=40)
MANY = settings(FIXED, max_examples=1200)
KEYS = ["name", "threads", "train.steps", "train", "arms", "arms.0.name", "arms.9", "sweep", "quick", "data.shifts.x"]
WORD = st.sampled_from(WORDS) | st.text(max_size=8) | st.sampled_from(["a", "real", "1", " "])
TEXT = st.lists(WORD, max_size=5).map("".join)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(params=[FIXED, pytest.param(MANY, marks=pytest.mark.thorough)], ids=["few", "many"])
def amount(request: pytest.FixtureRequest) -> settings:
    return request.param  # type: ignore[no-any-return]


def is_short(error: GenrobustError, *named: str) -> None:
    text = str(error)
    assert 0 < len(text.splitlines()) <= 3, text
    assert any(word in text for word in named), text


def test_an_override_gives_a_recipe_or_an_error_that_names_it(amount: settings, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(OWN)

    @amount
    @given(st.sampled_from(KEYS) | TEXT, TEXT, st.booleans())
    def holds(key: str, value: str, quick: bool) -> None:
        try:
            with bounded():
                load_recipe(str(tmp_path / "r.yaml"), [f"{key}={value}"], quick)
        except GenrobustError as error:
            is_short(error, "--set", "r.yaml")

    holds()


@pytest.mark.parametrize("strategy", ["single", "diverse"])
def test_templates_name_the_class_or_are_refused(amount: settings, strategy: str) -> None:
    labels = LabelSpace(tuple(ClassLabel(id, id, f"{id} {{}} % '") for id in ("a", "b")))

    @amount
    @given(st.lists(TEXT | TEXT.map(lambda text: f"{text}{{}}"), max_size=4))
    def holds(texts: list[str]) -> None:
        try:
            with bounded():
                config = PromptConfig(strategy=strategy, templates=tuple(texts))  # type: ignore[arg-type]
                class_templates(config, labels)
                short, long = (Plan(labels, config, each, data_seed=0) for each in (2, 5))
                requests = list(long)
        except GenrobustError as error:
            is_short(error, "prompts.templates", "prompts.strategy")
            return
        assert [request for request in requests if request.key in {r.key for r in short}] == list(short)
        assert all(labels.classes[r.label].prompt in r.prompt and r.template in texts for r in requests)
        assert len({request.key for request in requests}) == len({request.seed for request in requests}) == 10

    holds()
