"""What genrobust wrote into a folder is replaced there; what is about something else, or was changed, is kept first."""

import os
import shutil
import time
from pathlib import Path

import fsspec
import pytest

from genrobust.core import EARLIER, FILE_LIST, UserError, file_list, foreign_files, own_files, read_file_list
from genrobust.core.mirror import Mirror
from genrobust.core.own_files import write_files


def edit(path):
    path.write_text("mine")


def kept(folder):
    """The contents of earlier reports by the number of each and the name of the file."""
    return {
        (path.parent.name.rpartition("-")[2], path.name): path.read_text()
        for path in (folder / EARLIER).glob("????-??-??-*/*")
    }


def test_own_files_are_replaced_and_others_stay(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / ".photo.0a1b2c3d.part").write_text("mine")
    (tmp_path / ".a.0a1b2c3d.part").write_text("of a killed run")
    for text in ("one", "two", "two"):
        paths = write_files({"a": text, "b": b"bytes"}, tmp_path, "a study")
        assert paths == {"a": tmp_path / "a", "b": tmp_path / "b"}
        write_files({"c": text}, tmp_path, "an audit")
    assert {p.name for p in tmp_path.iterdir()} == {
        *(FILE_LIST, ".lock", "a", "b", "c", "mine.txt", ".photo.0a1b2c3d.part")
    }
    assert (tmp_path / "a").read_text() == "two"
    assert set(read_file_list(tmp_path)) == {"a", "b", "c"}
    assert [found.split(",")[0] for found in foreign_files(tmp_path, read_file_list(tmp_path))] == [
        *(".lock", ".photo.0a1b2c3d.part", "mine.txt")
    ]


@pytest.mark.parametrize(
    ("change", "about"),
    [
        (lambda folder: None, "another study"),
        (lambda folder: edit(folder / "a"), "a study"),
        (lambda folder: (folder / FILE_LIST).unlink(), "a study"),
        (lambda folder: (folder / FILE_LIST).write_bytes(file_list(read_file_list(folder))), "a study"),
        (lambda folder: (folder / "c").unlink(), "another study"),
    ],
    ids=["another study", "edited", "no list", "the list of version 0.1", "one is missing"],
)
def test_what_is_about_something_else_or_was_changed_is_kept_whole(tmp_path, caplog, change, about):
    write_files({"a": "one", "c": "one"}, tmp_path, "a study")
    change(tmp_path)
    before = {("1", path.name): path.read_text() for path in (tmp_path / "a", tmp_path / "c") if path.exists()}
    for text in ("two", "three"):
        write_files({"c": text, "a": text}, tmp_path, about)
        assert kept(tmp_path) == before
        assert (tmp_path / "a").read_text() == (tmp_path / "c").read_text() == text
    (line,) = caplog.messages
    assert str(tmp_path / EARLIER) in line


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a").rename(folder / "b") and (folder / "a").symlink_to("b"),
        lambda folder: (folder / "a").unlink() or (folder / "a").mkdir(),
        lambda folder: (folder / "a").unlink() or os.mkfifo(folder / "a"),
        lambda folder: edit(folder / FILE_LIST),
        lambda folder: (folder / FILE_LIST).unlink() or (folder / FILE_LIST).mkdir(),
    ],
    ids=["a link", "a folder", "a pipe", "damaged list", "a folder as list"],
)
def test_what_is_no_file_is_named_and_stays(tmp_path, change):
    write_files({"a": "one", "c": "one"}, tmp_path, "a study")
    change(tmp_path)
    with pytest.raises(UserError, match=r"/a |\.genrobust\.files"):
        write_files({"c": "two", "a": "two"}, tmp_path, "a study")
    assert (tmp_path / "c").read_text() == "one"


def test_a_kill_between_two_files_costs_nothing(tmp_path, monkeypatch):
    """Whichever file was the last, the earlier ones are kept once and together, and the next run ends well."""
    replacing = own_files.replacing
    for number in range(100):
        folder, left = tmp_path / str(number), iter(range(number, -100, -1))
        write_files({"a": "one", "b": "one"}, folder, "a study")

        def until_killed(path, left=left):
            if next(left) == 0:
                raise KeyboardInterrupt
            return replacing(path)

        with monkeypatch.context() as patched:
            patched.setattr(own_files, "replacing", until_killed)
            try:
                write_files({"a": "two", "b": "two"}, folder, "another study")
                break
            except KeyboardInterrupt:
                pass
        write_files({"a": "three", "b": "three"}, folder, "another study")
        assert kept(folder) == {("1", "a"): "one", ("1", "b"): "one"}
        assert (folder / "a").read_text() == (folder / "b").read_text() == "three"
    assert number == 5  # two that are kept, the list, and two that are new


def test_files_that_a_kill_left_from_two_runs_of_one_study_are_replaced(tmp_path):
    write_files({"a": "one", "b": "one"}, tmp_path, "a study")
    old = shutil.copy(tmp_path / "b", tmp_path / "old")
    write_files({"a": "two", "b": "two"}, tmp_path, "a study")
    old.replace(tmp_path / "b")
    write_files({"a": "three", "b": "three"}, tmp_path, "a study")
    assert (tmp_path / "b").read_text() == "three" and not (tmp_path / EARLIER).exists()


def test_machines_that_share_a_url_keep_what_the_other_wrote(tmp_path, monkeypatch):
    monkeypatch.setattr("genrobust.core.files._remotes", {})
    there, root = fsspec.filesystem("memory"), f"/{tmp_path.name}-shared/small"
    one, two = (Mirror(f"memory:/{Path(root).parent}", tmp_path / name).folder / "small" for name in ("a", "b"))
    for text, (machine, about) in zip(
        "1234", [(one, "a study"), (two, "a study"), (one, "another study"), (two, "a study")], strict=True
    ):
        write_files({"a": text, "b": text}, machine, about)
        time.sleep(1.1)  # files of one size are told apart by the second in which they were written
    there.pipe_file(f"{root}/b", b"edited there")
    write_files({"a": "5", "b": "5"}, one, "a study")
    found = {tuple(key.rpartition("-")[2].split("/")): there.cat_file(key) for key in there.find(f"{root}/{EARLIER}")}
    assert found == {
        **{("1", name): b"2" for name in "ab"},
        **{("2", name): b"3" for name in "ab"},
        ("3", "a"): b"4",
        ("3", "b"): b"edited there",
    }
    assert there.cat_file(f"{root}/b") == b"5"
