"""Copies among the sets of a study: counted, left out of test sets, and told."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from small_study import CLASSES, QUICK, REAL, folders_section

from genrobust.core import StudyData, UserError
from genrobust.data import load_data
from genrobust.leaks import hash_contents, without_copies
from genrobust.recipe import parse_recipe

Folders = dict[str, Path]


@pytest.fixture
def folders(write_folder: Callable[..., Path]) -> Folders:
    return {name: write_folder(name, name, 6, CLASSES) for name in ("train", "test", "solid", "emoji")}


def loaded(folders: Folders) -> StudyData:
    return load_data(parse_recipe({**QUICK, "generator": None, "data": folders_section(folders), "arms": [REAL]}).data)


def test_copies_are_left_out_of_test_sets_and_counted_by_where_they_come_from(folders: Folders) -> None:
    before = loaded(folders)
    name = next(path.name for path in folders["solid"].iterdir())
    trained, tested, own = (sorted((folders[kind] / name).iterdir()) for kind in ("train", "test", "solid"))
    others = {"leak": trained[0], "clean": tested[0], "twice": own[0], "thrice": own[0]}
    for word, image in others.items():
        shutil.copy(image, folders["solid"] / name / f"{word}.png")
    data, copies = without_copies(loaded(folders), hash_contents)
    (told,) = (Counter(copy.originals.values()) for copy in copies if copy.name == "solid")
    held = sum(told[kind] for kind in ("train", "val"))  # which of the two has it, a hash of its name decides
    assert held == 1 and told["test"] == 1 and told["solid"] == 2
    assert sorted(data.tests["solid"].keys) != sorted(loaded(folders).tests["solid"].keys)
    assert len(data.tests["solid"]) == len(before.tests["solid"])
    assert data.tests["emoji"].fingerprint == before.tests["emoji"].fingerprint, "what has no copies stays as it was"


def test_a_set_of_copies_alone_and_one_path_for_two_sets_are_mistakes(folders: Folders, tmp_path: Path) -> None:
    shutil.copytree(folders["solid"], tmp_path / "again")
    with pytest.raises(UserError, match=r"again .*solid"):
        without_copies(loaded({**folders, "again": tmp_path / "again"}), hash_contents)
    image = next(next(folders["train"].iterdir()).iterdir())
    shutil.copy(image, tmp_path / "again" / image.parent.name / "leak.png")
    data, copies = without_copies(loaded({**folders, "again": tmp_path / "again"}), hash_contents, ["again"])
    assert [(copy.name, len(copy.originals)) for copy in copies] == [("again", 1)], "it counts in no mean"
    assert len(data.tests["again"]) == len(data.tests["solid"])
    for twice in ("train", "test"):
        with pytest.raises(UserError, match=re.escape(str(folders[twice]))):
            loaded({**folders, "again": folders[twice]})
