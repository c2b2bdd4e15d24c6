"""Copies among the sets of a study: counted, left out of test sets, and told."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from small_study import CLASSES, QUICK, REAL, TRAIN, folders_section, genrobust

from genrobust.core import StudyData, UserError
from genrobust.data import hash_contents, load_data, without_copies
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
    for twice in ("train", "test", "solid"):
        with pytest.raises(UserError, match=re.escape(str(folders[twice]))):
            loaded({**folders, "again": folders[twice]})


def test_an_image_that_changed_with_its_size_and_time_kept_is_named(folders: Folders, tmp_path: Path) -> None:
    values = {**QUICK, "generator": None, "data": folders_section(folders), "train": TRAIN, "arms": [REAL]}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "runs").mkdir()
    words = ("verify", tmp_path / "own.yaml", "--images", "--runs", tmp_path / "runs")
    assert "all" in genrobust(*words).stdout
    image = next(folders["solid"].rglob("*.png"))
    times = (image.stat().st_atime_ns, image.stat().st_mtime_ns)
    image.write_bytes(image.read_bytes()[:-1] + b"\0")
    os.utime(image, ns=times)
    assert image.name in genrobust(*words, code=1).stdout
    os.utime(image)
    assert image.name not in genrobust(*words).stdout, "with another time it is another image"
