"""What genrobust wrote into a folder is replaced there; what others wrote, or changed, stays and is named."""

import os

import pytest

from genrobust.core import GenrobustError
from genrobust.store import MANIFEST, REWRITE, Artifact, Manifest, read_page_json, write_files
from genrobust.store.files import LOCK


def edit(path):
    path.write_text("mine")


def test_own_files_are_replaced_and_others_stay(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / ".photo.0a1b2c3d.part").write_text("mine")
    (tmp_path / ".a.0a1b2c3d.part").write_text("of a killed run")
    for text in ("one", "two", "two"):
        paths = write_files({"a": text, "b": b"bytes"}, tmp_path)
        assert paths == {"a": tmp_path / "a", "b": tmp_path / "b"}
        write_files({"c": text}, tmp_path)
    there = {p.name for p in tmp_path.iterdir()} - {LOCK}
    assert there == {MANIFEST, "a", "b", "c", "mine.txt", ".photo.0a1b2c3d.part"}
    assert (tmp_path / "a").read_text() == "two"
    files = Artifact(tmp_path).manifest().files
    assert set(files) == {"a", "b", "c"}


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a").rename(folder / "b") and (folder / "a").symlink_to("b"),
        lambda folder: (folder / "a").unlink() or (folder / "a").mkdir(),
        lambda folder: (folder / "a").unlink() or os.mkfifo(folder / "a"),
        lambda folder: edit(folder / "a"),
        lambda folder: (folder / MANIFEST).unlink(),
        lambda folder: edit(folder / MANIFEST),
        lambda folder: Artifact(folder).publish(Manifest("dataset")),
    ],
    ids=["a link", "a folder", "a pipe", "edited", "no manifest", "damaged manifest", "another artifact"],
)
def test_what_is_not_as_genrobust_wrote_it_is_named_and_stays(tmp_path, change):
    write_files({"a": "one", "c": "one"}, tmp_path)
    change(tmp_path)
    with pytest.raises(GenrobustError, match=str(tmp_path)):
        write_files({"c": "two", "a": "two"}, tmp_path)
    assert (tmp_path / "c").read_text() == "one"


class Killed(dict):
    """Contents whose second file is not written any more."""

    def items(self):
        yield next(iter(super().items()))
        raise KeyboardInterrupt


def test_a_kill_between_two_files_is_mended_by_the_next_run(tmp_path):
    write_files({"a": "one", "b": "one"}, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        write_files(Killed(a="two", b="two"), tmp_path)
    assert ((tmp_path / "a").read_text(), (tmp_path / "b").read_text()) == ("two", "one")
    assert not Artifact(tmp_path).is_finished
    write_files({"a": "three", "b": "three"}, tmp_path)
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "three"
    assert Artifact(tmp_path).check_files() and not Artifact(tmp_path).is_begun


def test_facts_beside_a_page_are_compared_where_a_manifest_lists_them(tmp_path):
    (path,) = write_files({"facts.json": '{"a": 1}'}, tmp_path).values()
    assert read_page_json(path) == {"a": 1}
    path.write_text('{"a": 2}')
    with pytest.raises(GenrobustError, match=rf"facts\.json.*{REWRITE}"):
        read_page_json(path)
    copy = tmp_path / "copy" / "facts.json"
    copy.parent.mkdir()
    path.rename(copy)
    assert read_page_json(copy) == {"a": 2}
