"""Parts that are kept: a second run makes only those that the first did not finish, and joins the same arrays."""

import logging

import numpy as np
import pytest

from genrobust.store import Artifact, KeptParts


class Squares:
    """Squares numbers in parts of 3, and fails before the item `until`."""

    def __init__(self, folder, until=10**9, inputs=("squares",)):
        self.parts, self.until, self.made, self.counted = KeptParts(folder, *inputs), until, [], []

    def run(self, total=10, each=3):
        return self.parts.child("numbers", total).run(total, each, self._make, self._advance)

    def _make(self, items):
        if items.stop > self.until:
            raise KeyboardInterrupt
        self.made.append(items)
        self._advance(len(items))
        return {"squares": np.array(items) ** 2, "names": np.array([f"{i}".encode() for i in items])}

    def _advance(self, count, found=False):
        self.counted.append((count, found))


@pytest.fixture
def folder(tmp_path):
    """Where an interrupted run has kept the parts of the items 0 to 2 and 3 to 5."""
    first = Squares(tmp_path / "parts", until=7)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    assert len(first.made) == 2
    return tmp_path / "parts"


def test_a_run_goes_on_where_another_was_interrupted(folder):
    second, whole = Squares(folder), Squares(None)
    found, expected = second.run(), whole.run()
    assert second.made == [range(6, 9), range(9, 10)]
    assert second.counted == [(3, True), (3, True), (3, False), (1, False)]
    assert found["squares"].tolist() == expected["squares"].tolist() == [i * i for i in range(10)]
    assert found["names"].tolist() == expected["names"].tolist()


@pytest.mark.parametrize("other", [{"inputs": ("cubes",)}, {"total": 11}, {"each": 4}])
def test_other_work_finds_nothing(folder, other):
    inputs = {key: other.pop(key) for key in ("inputs",) if key in other}
    run = Squares(folder, **inputs)
    run.run(**other)
    assert not any(found for _, found in run.counted)


def test_a_damaged_part_is_made_again_with_a_warning(folder, caplog):
    path = sorted(folder.glob("*/*.npz"))[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    again = Squares(folder)
    with caplog.at_level(logging.WARNING):
        assert again.run()["squares"].tolist() == [i * i for i in range(10)]
    assert len(again.made) == 3 and path.name in caplog.text
    assert not list(Artifact(path.parent).damage())


def test_when_the_work_is_done_its_parts_go_and_those_of_other_work_stay(folder):
    (own,) = folder.iterdir()
    (own / ".a.npz.01234567.part").touch()  # of a kill in the middle of writing
    other = Squares(folder, inputs=("cubes",))
    other.run()
    mine = Squares(folder)
    mine.run()
    assert mine.counted[:2] == [(3, True), (3, True)]
    mine.parts.remove()
    assert not own.exists() and len(list(folder.glob("*/*.npz"))) == 4
    other.parts.remove()
    assert not folder.exists()
    mine.parts.remove()


def test_where_parts_cannot_be_kept_the_work_goes_on_without(folder, caplog):
    (own,) = folder.iterdir()
    (own / "manifest.json").write_text('{"genrobust_format": 2}')
    run = Squares(folder)
    with caplog.at_level(logging.WARNING):
        assert run.run()["squares"].tolist() == [i * i for i in range(10)]
    assert len(caplog.messages) == 1 and "is of format 2" in caplog.text
    assert not folder.exists()


def test_work_of_one_part_keeps_nothing(tmp_path):
    run = Squares(tmp_path / "parts")
    run.run(total=3)
    run.parts.remove()
    assert list(tmp_path.iterdir()) == []
