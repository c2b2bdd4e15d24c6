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
    ("a: [!!str 12, ! 12, '12', \"12\"]", {"a": ["12"] * 4}),
    ("a: &x {b: [1]}\nc: *x", {"a": {"b": [1]}, "c": {"b": [1]}}),
    ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
    ("<<: [{a: 1}, {a: 2, b: 3}]\nc: 4", {"a": 1, "b": 3, "c": 4}),
    ("a: |\n  b\n  c\n", {"a": "b\nc\n"}),
    ('a: "\\0"', {"a": "\0"}),
]  # fmt: skip
REFUSED = [  # text, what the message names
    ("a: 1\nb: 2\na: 3", "line 3: the key 'a' occurs twice"),
    ("a: {b: 1,\n b: 1}", "line 2: a: the key 'b'"),
    ("'1': a\n1: b", "line 2: the key '1'"),
    ("<<: {a: 1}\n<<: {b: 1}", "line 2: the key '<<'"),
    ("a: 1\n---\nb: 2", "line 2: a second document"),
    ("a: 1\n---\n---\n", "line 2: a second document"),
    ("a: 1\n...\nb: 2", "line 3"),
    ("a: !!python/object/apply:os.system [x]", "line 1: a: the tag '!!python/object/apply:os.system'"),
    ("a: !!python/name:os.system ''", "the tag"),
    ("a: !!binary aGk=", "the tag '!!binary'"),
    ("a: !!set {b}", "the tag '!!set'"),
    ("a: !!int '3'", "the tag '!!int'"),
    ("a: !own 3", "the tag '!own'"),
    ("a: 010", "line 1: a: 010 begins with 0"),
    ("a: [1,\n 00]", "line 2: a: 00 begins with 0"),
    ("a: " + "1" * 5000, "a number of 5,000 digits"),
    ("a: 0x" + "f" * 5000, "a number of 5,002 digits"),
    ("a: 1." + "1" * 5000, "a number of 5,002 digits"),
    ("a: .nan", ".nan is no number"),
    ("a: [.inf, 1]", ".inf is no number"),
    ("a: -.INF", "-.INF is no number"),
    ("a: 1.0e+999", "too large"),
    ("a: {b: [{c: .nan}]}", "line 1: a.b.c: .nan is no number"),
    ("a:\n  b:\n    c: 1\n    c: 2", "line 4: a.b: the key 'c'"),
    ("[" * 500 + "]" * 500, "nested deeper than 40 levels"),
    ("[" * 100_000, "nest"),
    ("- " * 500, "nested deeper than 40 levels"),
    ("".join(" " * i + "a:\n" for i in range(500)), "nested deeper than 40 levels"),
    (BOMB, "more than 200,000 values"),
    ("[" + "1," * 200_001 + "]", "more than 200,000 values"),
    ("a: &a [*a]", "*a refers to no anchor"),
    ("a: *b", "*b refers to no anchor"),
    ("? [a, b]\n: c", "a key is a text"),
    ("&x a: 1\n? *x\n: 2", "a key is a text"),
    ("<<: 3", "<< takes a mapping"),
    ("<<: [1]", "<< takes a mapping"),
    ("a: [1", "not valid YAML (line"),
    ("a: 1\n\tb: 2", "not valid YAML (line 2)"),
    ("a: \0", "not valid YAML"),
    ("a: \x1b[31m", "not valid YAML"),
    ("%YAML 3.0\n---\na: 1", "not valid YAML (line 1)"),
    ("a: \ud800", "no text in UTF-8"),
    ("#" * 4_000_001, "4,000,001 bytes"),
    (b"a: \xe9", "no text in UTF-8"),
    ("a: 1".encode("utf-16"), "no text in UTF-8"),
    ("a: 1".encode("utf-32"), "no text in UTF-8"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), READ)
def test_values_are_plain_and_keys_are_texts_as_they_are_written(text, value):
    assert parse_yaml(text, "f.yaml") == value
    assert parse_yaml(text.encode(), "f.yaml") == value


@pytest.mark.parametrize(("text", "named"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_refused_is_named_with_its_line(text, named):
    with pytest.raises(UserError) as caught:
        parse_yaml(text, "f.yaml")
    message = str(caught.value)
    assert message.startswith("f.yaml") and named in message
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
