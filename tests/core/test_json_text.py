"""JSON from anywhere is what it says, or an error."""

import contextlib
import json

import pytest
from hypothesis import given, strategies as st

from genrobust.core import parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(VALUES)
def test_what_json_writes_is_read(value):
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value).encode("utf-8-sig")) == value


@given(st.binary(max_size=60))
def test_bytes_are_a_value_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        json.dumps(parse_json(text), ensure_ascii=False, allow_nan=False).encode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 2}', "a key occurs twice: 'a'"),
        ('[{"b": {"a": 1, "c": 0, "a": 1}}]', "a key occurs twice: 'a'"),
        ('{"\\u0061": 1, "a": 2}', "a key occurs twice: 'a'"),
        ('{"\\u001b": 1, "\\u001b": 2}', r"twice: '\\x1b'"),
        ("NaN", "NaN is no number"),
        ("[Infinity]", "Infinity is no number"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ("1e999", "1e999 is no finite number"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("9" * 5000, "digits"),
        ('"\\ud800"', "surrogates not allowed"),
        ("", "Expecting value"),
        (b"\xff\xfe1\x00", "utf-8"),
    ],
)
def test_what_is_no_json_is_said(text, said):
    with pytest.raises(ValueError, match=said):
        parse_json(text)
