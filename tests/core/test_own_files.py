"""Only what genrobust wrote into a folder is replaced there."""

import os
import shutil

import pytest

from genrobust.core import FILE_LIST, UserError, foreign_files, read_file_list, write_files


def edit(path):
    path.write_text("mine")


def test_own_files_are_replaced_and_others_stay(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / ".photo.0a1b2c3d.part").write_text("mine")
    (tmp_path / ".a.0a1b2c3d.part").write_text("of a killed run")
    for text in ("one", "two", "two"):
        assert write_files({"a": text, "b": b"bytes"}, tmp_path) == {"a": tmp_path / "a", "b": tmp_path / "b"}
        write_files({"c": text}, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {
        *(FILE_LIST, ".lock", "a", "b", "c", "mine.txt", ".photo.0a1b2c3d.part")
    }
    assert (tmp_path / "a").read_text() == "two"
    assert set(read_file_list(tmp_path)) == {"a", "b", "c"}
    assert [found.split(",")[0] for found in foreign_files(tmp_path, read_file_list(tmp_path))] == [
        *(".lock", ".photo.0a1b2c3d.part", "mine.txt")
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: edit(folder / "a"),
        lambda folder: (folder / "a").rename(folder / "b") and (folder / "a").symlink_to("b"),
        lambda folder: (folder / "a").unlink() or (folder / "a").mkdir(),
        lambda folder: (folder / "a").unlink() or os.mkfifo(folder / "a"),
        lambda folder: (folder / FILE_LIST).unlink(),
        lambda folder: edit(folder / FILE_LIST),
        lambda folder: (folder / FILE_LIST).unlink() or (folder / FILE_LIST).mkdir(),
    ],
    ids=["edited", "a link", "a folder", "a pipe", "no list", "damaged list", "a folder as list"],
)
def test_what_was_changed_is_named_and_stays(tmp_path, change):
    write_files({"a": "one", "c": "one"}, tmp_path)
    change(tmp_path)
    with pytest.raises(UserError, match=r"/[ac] |\.genrobust\.files"):
        write_files({"c": "two", "a": "two"}, tmp_path)
    assert (tmp_path / "c").read_text() == "one"


def test_a_kill_between_two_files_costs_nothing(tmp_path):
    """The list comes first: whichever of the files were replaced, all of them are known."""
    write_files({"a": "one", "b": "one"}, tmp_path)
    old = shutil.copy(tmp_path / "b", tmp_path / "old")
    write_files({"a": "two", "b": "two"}, tmp_path)
    old.replace(tmp_path / "b")
    write_files({"a": "three", "b": "three"}, tmp_path)
    assert (tmp_path / "b").read_text() == "three"
