"""Text and CSV from anywhere: what is read, what is refused with the file and line, and what is written."""

import csv
import io
import os
import re
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

import genrobust
from genrobust.core import UserError, csv_line, escape_unprintable, read_csv, read_lines


def written(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("cell", "kept"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-1+1", "'-1+1"),
        ("-cat", "'-cat"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "\\t=1"),
        ("\r\n=1", "\\r\\n=1"),
        ("x;=1+1.jpg", "x;'=1+1.jpg"),
        ("=1;-2;a=b", "'=1;'-2;a=b"),
        ("\x1b[2J\u202egpj.x\u200f\udce9", r"\x1b[2J\u202egpj.x\u200f\udce9"),
        ("na\u00efve \u732b, \u05d0\u05d1", "na\u00efve \u732b, \u05d0\u05d1"),
        ("\uff1d1", "'\uff1d1"),
        ("-", "'-"),
        ("-0x1", "'-0x1"),
        ("-1.25", "-1.25"),
        ("+3", "+3"),
        ("-.5e-3", "-.5e-3"),
        (-1.25, "-1.25"),
        ("a=b", "a=b"),
        (" =1", " =1"),
        ("", ""),
        (None, ""),
    ],
)
def test_a_cell_is_no_formula_and_a_number_stays_one(cell, kept):
    assert next(csv.reader(io.StringIO(csv_line([cell, "end"]), newline=""))) == [kept, "end"]


def test_there_is_one_reader_and_one_writer():
    root = Path(genrobust.__file__).parent
    users = {path.name for path in root.rglob("*.py") if re.search(r"^(import|from) csv\b", path.read_text(), re.M)}
    assert users == {"text_files.py"}


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\ufeff';") | st.sampled_from("=-@"), min_size=1),
        min_size=1,
        max_size=4,
    )
)
def test_what_is_written_is_one_line_that_is_read_again(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_text(csv_line([*cells, "end"]), encoding="utf-8")
    (row,) = (row for _, row in read_csv(path, "--x"))
    assert [cell.removeprefix("'") for cell in row] == [*(escape_unprintable(cell).strip() for cell in cells), "end"]


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,2\n",
        b"\xef\xbb\xbfa,b\n1,2",
        b"a,b\r\n1,2\r\n",
        b"a,b\r1,2\r",
        b"\n a , b\n\n1 ,2\n\n",
        b'"a","b"\n"1",2\n',
        b"a;b\n1;2\n",
        b"a\tb\n1\t2\n",
    ],
)
def test_the_usual_forms_of_csv_are_one(tmp_path, content):
    assert [row for _, row in read_csv(written(tmp_path, content), "--x")] == [["a", "b"], ["1", "2"]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no rows"),
        (b"\n\n", "no rows"),
        (b"a,b\n1,2,3\n", "line 2: 3 cells under 2 columns"),
        (b'a,b\n"1,2\n3,4\n', "line 3: not CSV"),
        (b'a,b\n"1"x,2\n', "line 2: not CSV"),
        (b"a,b\n1,\xff\n", r"not UTF-8 text \(line 2\)"),
        ("a,b\n1,2\n".encode("utf-16"), r"not UTF-8 text \(line 1\)"),
        ("a,b\n1,2\n".encode("utf-16-le"), r"line 1 holds the control character U\+0000"),
        (b"a,b\n1,\x1b[31m\n", r"line 2 holds the control character U\+001B at place 3"),
        (b"a,b\n1,\xc2\x9b\n", r"line 2 holds the control character U\+009B"),
        (b"a,b\n1," + b"9" * 200_000, "line 2: not CSV: field larger"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(tmp_path, content, said):
    with pytest.raises(UserError, match=rf"t\.csv.*{said}"):
        list(read_csv(written(tmp_path, content), "--x"))


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero"), tmp_path / "none"):
        with pytest.raises(UserError, match=f"--x: cannot read {path}"):
            list(read_lines(path, "--x"))


def test_a_pipe_of_the_shell_s_is_read():
    out, into = os.pipe()
    with os.fdopen(into, "w") as file:
        file.write("a\n\n b \n")
    try:
        assert list(read_lines(Path(f"/dev/fd/{out}"), "--x")) == [(1, "a"), (3, "b")]
    finally:
        os.close(out)


def test_a_sparse_giant_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "t.csv").open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(UserError, match=r"t\.csv: it has more than 1,073,741,824 bytes"):
        list(read_csv(tmp_path / "t.csv", "--x"))
