"""Values in messages, and sections that are merged."""

from __future__ import annotations

from typing import Any

import pytest

from genrobust.recipe import shown
from genrobust.recipe.section import merged


@pytest.mark.parametrize("value", ["x" * 59, "x" * 1000, list(range(1000)), "a\nb", "\x1b[31m" * 50, 5, None])
def test_a_value_is_shown_on_one_line_of_sixty_characters(value: Any) -> None:
    text = shown(value)
    assert len(text) <= 60 and text.isprintable()
    assert text.endswith(" ...") == (len(repr(value)) > 60)
    assert repr(value).startswith(text.removesuffix(" ..."))


def test_mappings_are_merged_at_every_depth_and_stay_as_they_were() -> None:
    base, other = {"a": {"b": {"c": 1, "d": 2}}, "e": {"f": 3}}, {"a": {"b": {"d": 4}}, "e": 5, "g": {"h": 6}}
    assert merged(base, other) == {"a": {"b": {"c": 1, "d": 4}}, "e": 5, "g": {"h": 6}}
    assert base == {"a": {"b": {"c": 1, "d": 2}}, "e": {"f": 3}}
