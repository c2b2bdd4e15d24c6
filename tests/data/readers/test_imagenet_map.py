"""Sets whose images or folders have several ImageNet classes: by a map of folders, and by lists of labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from stored_files import table, write_parquet

from genrobust.core import UserError
from genrobust.data import FolderClasses
from genrobust.data.file_list import ListedImages
from genrobust.data.imagenet_classes import label_space, wnids
from genrobust.data.reader import read_shift
from genrobust.recipe import ShiftConfig

MAP = {"chair": [423, 559, 765], "mug": ["n03063599"], "tie": [457, 906]}  # one id is written as in LAION-C's


def opened(tmp_path: Path, keys: dict[str, object], *classes: int) -> dict[str, ListedImages]:
    (tmp_path / "classes.txt").write_text("\n".join(map(str, classes)))
    labels = label_space(str(tmp_path / "classes.txt") if classes else "all", {})
    study = FolderClasses(labels, labels.ids, frozenset(wnids()) - set(labels.ids), imagenet=True)
    sets = read_shift("new", ShiftConfig.model_validate(keys), study, {})
    return {name: images for name, images in sets.items() if isinstance(images, ListedImages)}


@pytest.fixture
def mapped(tmp_path: Path, save_jpeg: Callable[..., None]) -> dict[str, object]:
    """Two sets of the three folders, one of which lacks a folder, beside questions as ImageNet-D has them."""
    root = tmp_path / "ImageNet-D"
    for folder in ("background/chair", "background/mug", "material/1/chair", "material/1/mug", "material/1/tie"):
        for number in range(2):
            save_jpeg(root / folder / f"{number}.jpg")
    (root / "questions").mkdir()
    (root / "questions" / "background.csv").write_text("question")
    (tmp_path / "map.json").write_text(json.dumps(MAP))
    return {"kind": "imagenet-map", "path": root, "map": tmp_path / "map.json"}


def test_each_folder_of_mapped_folders_is_a_set(mapped: dict[str, object], tmp_path: Path) -> None:
    sets = opened(tmp_path, mapped)
    assert {name: len(images) for name, images in sets.items()} == {"new-background": 4, "new-material-1": 6}
    images = sets["new-material-1"]
    assert images.accepted is not None and "any of an image's" in images.protocol
    found = {key.split("/")[0]: rights for key, rights in zip(images.keys, images.accepted, strict=True)}
    assert found == {"chair": (423, 559, 765), "mug": (504,), "tie": (457, 906)}
    part = opened(tmp_path, mapped, 0, 559, 765, 906)["new-material-1"]
    assert part.accepted is not None and {*part.accepted} == {(1, 2), (3,)} and len(part) == 4
    one = opened(tmp_path, {**mapped, "path": Path(str(mapped["path"])) / "background"})
    assert [*one] == ["new"]


@pytest.mark.parametrize(
    ("content", "folder", "said"),
    [
        ('["chair"]', "", "is no map from the names of folders"),
        ('{"chair": []}', "", "is no map from the names of folders"),
        ('{"chair": [1000]}', "", "'chair' means 1000, which is neither"),
        ('{"throne": [1]}', "", "has no folder that .* names: throne"),
        (json.dumps(MAP), "background/throne", "the map has no throne"),
    ],
)
def test_a_wrong_map_is_named(mapped: dict[str, object], tmp_path: Path, content: str, folder: str, said: str) -> None:
    (tmp_path / "map.json").write_text(content)
    (Path(str(mapped["path"])) / folder).mkdir(exist_ok=True)
    with pytest.raises(UserError, match=said):
        opened(tmp_path, mapped)


def test_classes_of_another_study_are_refused(mapped: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"imagenet-map shares no class with the 2 of data\.classes"):
        opened(tmp_path, mapped, 0, 1)


def test_any_label_of_a_list_is_right(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "hard" / "validation-0.parquet", table([[3], [423, 559], [0, 3]]))
    images = opened(tmp_path, {"kind": "imagenet-hard", "path": path})["new"]
    assert dict(zip(images.keys, images.accepted or (), strict=True)) == {
        "validation-0/000000": (3,),
        "validation-0/000001": (423, 559),
        "validation-0/000002": (0, 3),
    }
    part = opened(tmp_path, {"kind": "imagenet-hard", "path": path}, 0, 1, 559)["new"]
    assert (part.accepted, part.labels.tolist()) == (None, [2, 0])


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([[3], []], "row 1: the label None"),
        ([[3], [-1]], "the label -1"),
        ([[3], [1000]], "'1000' is none of 0 to 999"),
    ],
)
def test_a_label_that_cannot_be_one_is_named(tmp_path: Path, labels: list[list[int]], said: str) -> None:
    path = write_parquet(tmp_path / "validation-0.parquet", table(labels))
    with pytest.raises(UserError, match=said):
        opened(tmp_path, {"kind": "imagenet-hard", "path": path})
