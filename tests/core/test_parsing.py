"""YAML, JSON, text and CSV of users: what is read, and what is refused with its place."""

import csv
import io

import pytest
from hypothesis import given, strategies as st

from genrobust.core import UserError, csv_line, escape_unprintable, parse_json, parse_yaml, read_csv, read_lines

READ = [
    ("", None),
    ("\ufeffa: 1", {"a": 1}),
    ("a: [true, ~, 0x10, .5]", {"a": [True, None, 16, 0.5]}),
    ("[yes, no, on, OFF, False]", ["yes", "no", "on", "OFF", False]),
    ("a: &x [1]\nb: [*x, *x]", {"a": [1], "b": [[1], [1]]}),
    ("[010, 08, 0b11, 1:30, 12:30.5, 2026-12-01]", ["010", "08", "0b11", "1:30", "12:30.5", "2026-12-01"]),
    ("[0, -7, +5, 1_000, 1e3, 1e-3, 2.5e-4, 1.]", [0, -7, 5, 1000, 1000.0, 0.001, 0.00025, 1.0]),
    ("{no: 1, 007: 3, 1: 4, ~: 5}", {"no": 1, "007": 3, "1": 4, "~": 5}),
    ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
    ("a: {e: &x {<<: {b: 1}, b: 2}}\nd: {<<: *x, b: 3}", {"a": {"e": {"b": 2}}, "d": {"b": 3}}),
]
# Each line has ten times the values of the line before.
LAUGHS = "".join([f"k0: &k0 [{'x, ' * 10}]\n", *(f"k{n}: &k{n} [{f'*k{n - 1}, ' * 10}]\n" for n in range(1, 30))])
MISTAKES = [  # what reads it, the text, what the error names
    (parse_yaml, "a: 1\nb: 2\na: 3", "(line 3, column 1): the key 'a' occurs twice"),
    (parse_yaml, "a:\n  b: {c: 1, c: 2}", "line 2, column 13): the key 'c' occurs twice"),
    (parse_yaml, "'1': a\n1: b", "the key '1' occurs twice"),
    (parse_yaml, "a: 1\n---\nb: 2", "(line 2, column 1)"),
    (parse_yaml, "a: !!python/object/apply:os.system [x]", "(line 1, column 4)"),
    (parse_yaml, "a: 1\n\tb: 2", "(line 2, column 1)"),
    (parse_yaml, "[" * 100_000, "not valid YAML"),
    (parse_yaml, "a: 1\nb: &x [1, *x]", "not valid YAML"),
    (parse_yaml, "a: &x {b: {<<: *x}}", "not valid YAML"),
    (parse_yaml, LAUGHS, "anchors repeat"),
    (parse_yaml, f"a: {'1' * 5000}", "not valid YAML"),
    (parse_yaml, b"a: \xe9", "UTF-8"),
    (parse_json, '[{"b": {"a": 1, "c": 0, "a": 1}}]', "a key occurs twice: 'a'"),
    (parse_json, '{"a": -Infinity}', "-Infinity is no number"),
    (parse_json, "", "Expecting value"),
    (read_csv, b"", "no rows"),
    (read_csv, b"a,b\n1,2,3\n", "line 2: 3 cells under 2 columns"),
    (read_csv, b'a,b\n"1,2\n3,4\n', "line 3: not CSV"),
    (read_csv, b"a,b\n1,\xff\n", "UTF-8"),
    (read_lines, b"a\n\xff", "UTF-8"),
]


@pytest.mark.parametrize(("text", "value"), READ)
def test_values_are_plain_and_keys_are_texts_as_they_are_written(text, value):
    assert parse_yaml(text, "f.yaml") == value
    assert parse_yaml(text.encode(), "f.yaml") == value


@pytest.mark.parametrize(("read", "text", "named"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_named_with_its_place(read, text, named, tmp_path):
    with pytest.raises((UserError, ValueError)) as caught:
        if read in (parse_yaml, parse_json):
            read(text, *["t.csv"] * (read is parse_yaml))
        else:
            (tmp_path / "t.csv").write_bytes(text)
            list(read(tmp_path / "t.csv", "--x"))
    assert named in str(caught.value)
    assert isinstance(caught.value, UserError) == (read is not parse_json) == ("t.csv" in str(caught.value))


@pytest.mark.parametrize(
    "content",
    ["a,b\n1,2\n", "\ufeffa,b\r\n1,2", "\n a , b\n\n1 ,2\n\n", '"a","b"\n"1",2\n', "a;b\n1;2\n", "a\tb\n1\t2"],
)
def test_the_usual_forms_of_csv_are_one(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content.encode())
    assert [row for _, row in read_csv(tmp_path / "t.csv", "--x")] == [["a", "b"], ["1", "2"]]


@given(st.lists(st.text(st.characters(exclude_characters="\ufeff")), min_size=1, max_size=4))
def test_a_row_is_one_line_that_is_read_again(cells):
    line = csv_line([*cells, "end"])
    assert line.count("\n") == 1 and line.encode()
    assert next(csv.reader(io.StringIO(line))) == [*map(escape_unprintable, cells), "end"]
