"""What genrobust wrote into a folder is replaced there; what is about something else, or was changed, is kept first."""

import os
from pathlib import Path

import fsspec
import pytest

from genrobust.core import (
    EARLIER,
    MANIFEST,
    REWRITE,
    Artifact,
    GenrobustError,
    Manifest,
    foreign_files,
    page_files,
    read_page_json,
    write_files,
)
from genrobust.core.files import LOCK
from genrobust.core.remote import RemoteFolder


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
    there = {p.name for p in tmp_path.iterdir()} - {LOCK}
    assert there == {MANIFEST, "a", "b", "c", "mine.txt", ".photo.0a1b2c3d.part"}
    assert (tmp_path / "a").read_text() == "two"
    files = Artifact(tmp_path).manifest().files
    assert set(files) == {"a", "b", "c"}
    assert [found.split(",")[0] for found in foreign_files(tmp_path, files)] == [".photo.0a1b2c3d.part", "mine.txt"]


@pytest.mark.parametrize(
    ("change", "about"),
    [
        (lambda folder: None, "another study"),
        (lambda folder: edit(folder / "a"), "a study"),
        (lambda folder: (folder / MANIFEST).unlink(), "a study"),
        (lambda folder: (folder / "c").unlink(), "another study"),
    ],
    ids=["another study", "edited", "no manifest", "one is missing"],
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
        lambda folder: edit(folder / MANIFEST),
        lambda folder: Artifact(folder).publish(Manifest("dataset")),
    ],
    ids=["a link", "a folder", "a pipe", "damaged manifest", "another artifact"],
)
def test_what_is_no_file_is_named_and_stays(tmp_path, change):
    write_files({"a": "one", "c": "one"}, tmp_path, "a study")
    change(tmp_path)
    with pytest.raises(GenrobustError, match=str(tmp_path)):
        write_files({"c": "two", "a": "two"}, tmp_path, "a study")
    assert (tmp_path / "c").read_text() == "one"


def test_a_kill_between_two_files_loses_nothing(tmp_path, monkeypatch):
    """Whichever file was the last, the earlier ones are kept together, and the next run ends well."""
    replacing = page_files.replacing
    for number in range(100):
        folder, left = tmp_path / str(number), iter(range(number, -100, -1))
        write_files({"a": "one", "b": "one"}, folder, "a study")

        def until_killed(path, left=left):
            if next(left) == 0:
                raise KeyboardInterrupt
            return replacing(path)

        with monkeypatch.context() as patched:
            patched.setattr(page_files, "replacing", until_killed)
            try:
                write_files({"a": "two", "b": "two"}, folder, "another study")
                break
            except KeyboardInterrupt:
                pass
        write_files({"a": "three", "b": "three"}, folder, "another study")
        first = {name: text for (number, name), text in kept(folder).items() if number == "1"}
        assert first == {"a": "one", "b": "one"}
        assert (folder / "a").read_text() == (folder / "b").read_text() == "three"
    assert number == 4  # two that are kept, and two that are new


def test_facts_beside_a_page_are_compared_where_a_manifest_lists_them(tmp_path):
    (path,) = write_files({"facts.json": '{"a": 1}'}, tmp_path, "a study").values()
    assert read_page_json(path) == {"a": 1}
    path.write_text('{"a": 2}')
    with pytest.raises(GenrobustError, match=rf"facts\.json.*{REWRITE}"):
        read_page_json(path)
    copy = tmp_path / "copy" / "facts.json"
    copy.parent.mkdir()
    path.rename(copy)
    assert read_page_json(copy) == {"a": 2}


def test_machines_that_share_a_url_keep_what_the_other_wrote(tmp_path, monkeypatch):
    monkeypatch.setattr("genrobust.core.files._remotes", {})
    there, root = fsspec.filesystem("memory"), f"/{tmp_path.name}-shared/small"
    one, two = (RemoteFolder(f"memory:/{Path(root).parent}", tmp_path / name).folder / "small" for name in ("a", "b"))
    for text, (machine, about) in zip(
        "1234", [(one, "a study"), (two, "a study"), (one, "another study"), (two, "a study")], strict=True
    ):
        write_files({"a": text, "b": text}, machine, about)
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
