"""YAML that anyone may have written: what is read, what is refused and in which line, and that nothing else happens."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import example, given, settings, strategies as st

from genrobust.core import UserError, parse_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
READ = [
    ("", None),
    ("# only a comment", None),
    ("a: 1", {"a": 1}),
    ("\ufeffa: 1", {"a": 1}),
    ("a: [1, -2, +3, 0x10, 0b11, 1_000]", {"a": [1, -2, 3, 16, 3, 1000]}),
    ("a: [2.5, .5, 1.0e-3, 1e-3]", {"a": [2.5, 0.5, 0.001, "1e-3"]}),
    ("a: [yes, No, on, OFF, true, ~, null, y]", {"a": [True, False, True, False, True, None, None, "y"]}),
    ("{no: 1, 2020-01-01: 2, 007: 3, 1: 4, ~: 5}", {"no": 1, "2020-01-01": 2, "007": 3, "1": 4, "~": 5}),
    ("a: [2020-01-01, 12:30, 2020-01-01 10:00:00]", {"a": ["2020-01-01", "12:30", "2020-01-01 10:00:00"]}),
    ("a: ['010', =, <<]", {"a": ["010", "=", "<<"]}),
    ("a: [!!str 12, '12', \"12\"]", {"a": ["12"] * 3}),
    ("a: &x {b: [1]}\nc: *x", {"a": {"b": [1]}, "c": {"b": [1]}}),
    ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
    ("<<: {}\na: 1", {"a": 1}),
    ("<<: [{a: 1}, {a: 2, b: 3}]\nc: 4", {"a": 1, "b": 3, "c": 4}),
    ("a: |\n  b\n  c\n", {"a": "b\nc\n"}),
    ('a: "\\0"', {"a": "\0"}),
]  # fmt: skip
REFUSED = [  # text, its line, what the message names
    ("a: 1\nb: 2\na: 3", 3, "'a' occurs twice"),
    ("'1': a\n1: b", 2, "'1' occurs twice"),
    ("a:\n  b:\n    c: 1\n    c: 2", 4, "'c' occurs twice"),
    ("a: 1\n---\nb: 2", 2, "another document"),
    ("a: !!python/object/apply:os.system [x]", 1, "'!!python/object/apply:os.system'"),
    ("a: !!binary aGk=", 1, "'!!binary'"),
    ("a: !!set {b}", 1, "'!!set'"),
    ("a: !own 3", 1, "'!own'"),
    ("a: 010", 1, "010 begins with 0"),
    ("a: 0x" + "f" * 5000, 1, "5,002 digits"),
    ("a: .nan", 1, ".nan is no number"),
    ("a: 1.0e+999", 1, "1.0e+999 is no number"),
    ("a: !!bool x", 1, "'x' is no bool"),
    ("[" * 500 + "]" * 500, 1, "deeper than 40"),
    ("[" * 100_000, 1, "nesting depth"),
    (BOMB, None, "more than 200,000 values"),
    ("a: &a [*a]", 1, "deeper than 40"),
    ("a: *b", 1, "alias"),
    ("? [a, b]\n: c", 1, "a key is a text"),
    ("<<: 3", 1, "<< takes a mapping"),
    ("a: 1\n\tb: 2", 2, ""),
    ("a: \x1b[31m", None, ""),
    ("a: \ud800", None, "UTF-8"),
    ("#" * 4_000_001, None, "4,000,001 bytes"),
    (b"a: \xe9", None, "UTF-8"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), READ)
def test_values_are_plain_and_keys_are_texts_as_they_are_written(text, value):
    assert parse_yaml(text, "f.yaml") == value
    assert parse_yaml(text.encode(), "f.yaml") == value


@pytest.mark.parametrize(("text", "line", "named"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_refused_is_named_with_its_line(text, line, named):
    with pytest.raises(UserError) as caught:
        parse_yaml(text, "f.yaml")
    message = str(caught.value)
    assert message.startswith("f.yaml") and named in message and (line is None or f"line {line}" in message)
    assert len(message.splitlines()) == 1 and message.isprintable()


def test_an_alias_is_a_copy():
    value = parse_yaml("a: &x {b: [1]}\nc: *x", "f.yaml")
    value["a"]["b"].append(2)
    assert value["c"] == {"b": [1]}


NUMBERS = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text().filter(
    lambda text: not re.fullmatch(r"[-+.0-9_eE]+", text)
)  # 1e3 is a number here, and not to PyYAML
PLAIN = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)  # fmt: skip


@given(PLAIN)
def test_what_is_written_is_read_again(value):
    try:
        text = yaml.safe_dump(value, allow_unicode=True)
        known = yaml.safe_load(text)  # not `value`: the library changes some ends of lines
    except (yaml.YAMLError, UnicodeError):
        return
    assert parse_yaml(text, "f.yaml") == known


@settings(max_examples=300)
@given(st.binary() | st.text(st.sampled_from("[]{}&*!|>%@`'\"#,:?-~ \n\ta1.0xe<=\0é")).map(str.encode))
@example(b"")
def test_any_bytes_are_read_or_refused_by_name(data):
    try:
        parse_yaml(data, "f.yaml")
    except UserError as error:
        assert str(error).startswith("f.yaml")
