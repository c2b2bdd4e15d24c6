"""Words on the command line and in recipes: whatever they are, a typed thing or an error that names them."""

from __future__ import annotations

from pathlib import Path

import pytest
from bounded import bounded
from hostile_files import OWN
from hypothesis import given, settings, strategies as st
from mutating import SCALARS, WORDS

from genrobust.core import ClassLabel, GenrobustError, LabelSpace
from genrobust.core.sealing import sealed, unsealed
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


def test_a_sealed_value_comes_back(amount: settings) -> None:
    @amount
    @given(st.dictionaries(st.text().filter(lambda key: key != "sha256"), JSON, max_size=5))
    def holds(value: dict[str, object]) -> None:
        try:
            text = sealed(value)
        except UnicodeEncodeError:  # half of a surrogate pair is no text
            return
        assert unsealed(text) == value

    holds()


def test_sealed_text_that_was_changed_is_refused_or_says_the_same(amount: settings) -> None:
    text = sealed({"a": [1, 2.5, None], "b": {"c": "größe"}})

    @amount
    @given(st.integers(0, len(text) - 1), st.integers(0, 7), st.sampled_from(["flip", "cut", "end", "twice"]))
    def holds(place: int, bit: int, how: str) -> None:
        changed = bytearray(text)
        if how == "flip":
            changed[place] ^= 1 << bit
        elif how == "cut":
            del changed[place : place + 1 + bit]
        elif how == "end":
            del changed[place:]
        else:
            changed[place:place] = changed[place : place + 1 + bit]
        try:
            with bounded():
                found = unsealed(bytes(changed))
        except ValueError:
            return
        assert found == unsealed(text)

    holds()


def test_what_is_no_number_is_not_sealed(amount: settings) -> None:
    @amount
    @given(SCALARS)
    def holds(value: object) -> None:
        finite = not isinstance(value, float) or value - value == 0
        if finite:
            assert unsealed(sealed({"a": value})) == {"a": value}
        else:
            with pytest.raises(ValueError):
                sealed({"a": value})

    holds()
