"""Validation images in one flat folder get their classes from any of the files that tell them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from genrobust.core.errors import UserError
from genrobust.data.ground_truth import is_flat, list_flat

TRUTH = "ILSVRC2012_validation_ground_truth.txt"
# The devkit's first classes: its numbers do not follow the sorted WordNet ids.
DEVKIT = {1: "n02119789", 2: "n02100735", 3: "n02110185"}


@pytest.fixture
def val(tmp_path: Path, save_jpeg: Callable[..., None]) -> Path:
    for number in (1, 2, 3, 4):
        save_jpeg(tmp_path / "root" / "val" / f"ILSVRC2012_val_{number:08d}.JPEG")
    return tmp_path / "root" / "val"


def write_devkit(folder: Path, numbers: list[int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TRUTH).write_text("".join(f"{n}\n" for n in numbers))
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    rows = [(n, wnid, "words", 0) for n, wnid in DEVKIT.items()] + [(1001, "n00001740", "entity", 2)]
    savemat(folder / "meta.mat", {"synsets": np.array(rows, dtype=kind).reshape(-1, 1)})


def found(val: Path) -> dict[int, str]:
    listing = list_flat(val)
    return {int(key[15:23]): group for key, group in zip(listing.keys, listing.groups, strict=True)}


WANTED = {1: DEVKIT[3], 2: DEVKIT[1], 3: DEVKIT[1], 4: DEVKIT[2]}


@pytest.mark.parametrize("below", [".", "val", "ILSVRC2012_devkit_t12/data"])
def test_the_devkit_s_own_numbers_are_translated(val: Path, below: str) -> None:
    write_devkit(val.parent / below, [3, 1, 1, 2])
    assert is_flat(val)
    assert found(val) == WANTED


def test_kaggle_s_solution_is_read(val: Path) -> None:
    rows = [f"ILSVRC2012_val_{n:08d},{wnid} 85 1 499 272 {DEVKIT[2]} 1 2 3 4" for n, wnid in reversed(WANTED.items())]
    (val.parent / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *rows]))
    assert found(val) == WANTED


def test_synset_labels_are_read(val: Path) -> None:
    (val.parent / "synset_labels.txt").write_text("\n".join(WANTED.values()))
    assert found(val) == WANTED


def test_without_a_ground_truth_it_is_told_what_to_add(val: Path) -> None:
    with pytest.raises(UserError, match=r"val holds validation images in no class folders.*LOC_val_solution\.csv"):
        list_flat(val)


def test_the_numbers_alone_are_refused(val: Path) -> None:
    write_devkit(val.parent, [3, 1, 1, 2])
    (val.parent / "meta.mat").unlink()
    with pytest.raises(UserError, match=r"the devkit's own order, which .*meta\.mat tells"):
        list_flat(val)


def test_a_damaged_meta_is_named(val: Path) -> None:
    write_devkit(val.parent, [3, 1, 1, 2])
    (val.parent / "meta.mat").write_bytes(b"no matlab file")
    with pytest.raises(UserError, match=r"cannot read .*meta\.mat"):
        list_flat(val)


def test_an_image_that_the_ground_truth_lacks_is_named(val: Path) -> None:
    write_devkit(val.parent, [3, 1, 1])
    with pytest.raises(UserError, match=r"val_00000004\.JPEG: .* has no class for this image"):
        list_flat(val)


def test_a_class_that_imagenet_lacks_is_named(val: Path) -> None:
    write_devkit(val.parent, [3, 1, 1001, 2])
    with pytest.raises(UserError, match="'n00001740' is the WordNet id of no class"):
        list_flat(val)
    write_devkit(val.parent, [3, 1, 2000, 2])
    with pytest.raises(UserError, match="'2000' is the number of no class"):
        list_flat(val)


def test_a_damaged_solution_is_named(val: Path) -> None:
    (val.parent / "LOC_val_solution.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"cannot read .*LOC_val_solution\.csv"):
        list_flat(val)


def test_class_folders_are_not_flat(val: Path) -> None:
    (val / "n02119789").mkdir()
    assert not is_flat(val)
