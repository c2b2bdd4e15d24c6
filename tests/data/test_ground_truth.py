"""Validation images in one flat folder get their classes from any of the files that tell them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from genrobust.core import UserError
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


def write_kaggle(folder: Path) -> None:
    rows = [f"ILSVRC2012_val_{n:08d},{wnid} 85 1 499 272 {DEVKIT[2]} 1 2 3 4" for n, wnid in reversed(WANTED.items())]
    (folder / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *rows]))


@pytest.mark.parametrize(
    "write",
    [
        *(lambda f, below=b: write_devkit(f / below, [3, 1, 1, 2]) for b in (".", "val", "ILSVRC2012_devkit_t12/data")),
        write_kaggle,
    ],
    ids=["devkit", "devkit in val", "devkit below", "kaggle"],
)
def test_classes_come_from_any_of_the_files(val: Path, write: Callable[[Path], object]) -> None:
    write(val.parent)
    assert is_flat(val)
    assert found(val) == WANTED
    (val / "n02119789").mkdir()
    assert not is_flat(val)


@pytest.mark.parametrize(
    ("numbers", "spoil", "said"),
    [
        (None, None, r"val holds validation images in no class folders.*LOC_val_solution\.csv"),
        ([3, 1, 1, 2], lambda f: (f / "meta.mat").unlink(), r"the devkit's own order, which .*meta\.mat tells"),
        ([3, 1, 1], None, r"val_00000004\.JPEG: .* has no class for this image"),
        ([3, 1, 1001, 2], None, "line 3: 'n00001740' is no class"),
        ([3, 1, 2000, 2], None, "line 3: '2000' is no class"),
        (None, lambda f: (f / "LOC_val_solution.csv").write_text("a,b\n1,2\n"), r"cannot read .*LOC_val_solution\.csv"),
        ([3, 1, 1, 2], lambda f: (f / "meta.mat").write_bytes(b"MATLAB 5.0 " * 99), r"cannot read .*meta\.mat"),
    ],
)
def test_what_is_wrong_with_the_ground_truth_is_named(
    val: Path, numbers: list[int] | None, spoil: Callable[[Path], object] | None, said: str
) -> None:
    if numbers:
        write_devkit(val.parent, numbers)
    if spoil:
        spoil(val.parent)
    with pytest.raises(UserError, match=said):
        list_flat(val)
