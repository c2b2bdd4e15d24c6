"""Sets of WILDS, built small as they unpack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from genrobust.core import StudyData, UserError
from genrobust.data import load_data
from genrobust.recipe import DataConfig

SPLITS = ("train", "id_val", "id_test", "val", "test")


def loaded(source: str, root: Path, **more: object) -> StudyData:
    return load_data(DataConfig.model_validate({"source": source, "root": root, **more}))


@pytest.fixture
def iwildcam(tmp_path: Path, save_jpeg: Callable[..., None]) -> Path:
    """Two images of each of 11 classes in each split; a camera has those of a split."""
    rows = ["split,filename,y,location_remapped"]
    for place, split in enumerate(SPLITS):
        for label in range(11):
            for number in range(2):
                name = f"{split}-{label}-{number}.jpg"
                save_jpeg(tmp_path / "train" / name)
                rows.append(f"{split},{name},{label},{place + 2 * number}")
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    (tmp_path / "categories.csv").write_text(
        "y,category_id,name\n" + "".join(f"{k},{k},beast {k}\n" for k in range(12))
    )
    return tmp_path


def test_iwildcam_keeps_its_splits_and_names(iwildcam: Path) -> None:
    data = loaded(
        "iwildcam", iwildcam, class_names={"10": "ocelot"}, groups={"ood_test": {"column": "location_remapped"}}
    )
    assert data.labels.names == (*(f"beast {k}" for k in range(10)), "ocelot")
    assert (data.clean, data.shifts) == ("id_test", ("ood_test",))
    assert data.shifted_val is not None
    sets = (data.train, data.val, data.tests["id_test"], data.shifted_val, data.tests["ood_test"])
    for split, images in zip(SPLITS, sets, strict=True):
        assert {key.split("-")[0] for key in images.keys} == {f"train/{split}"} and len(images) == 22
        assert [int(key.split("-")[1]) for key in images.keys] == images.labels.tolist()
    assert {*data.image_groups["ood_test"]} == {"4", "6"}


def test_camelyon17_is_cut_by_hospital(tmp_path: Path, save_jpeg: Callable[..., None]) -> None:
    rows = [",patient,node,x_coord,y_coord,tumor,slide,center,split"]
    for center in range(5):
        for number in range(20):
            slide, tumor, split = f"patient_00{center}_node_1", number % 2, int(number >= 12)
            save_jpeg(tmp_path / "patches" / slide / f"patch_{slide}_x_{number}_y_7.png")
            zero = ".0" if number % 3 else ""  # as pandas saves a number in a column with an empty cell
            values = f"{number}{zero},7{zero},{tumor}{zero},{center},{center}{zero},{split}{zero}"
            rows.append(f"{number},{center if zero else f'00{center}'}{zero},1{zero},{values}")
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    data = loaded("camelyon17", tmp_path)
    assert data.labels.names == ("lymph node tissue", "lymph node tissue with a tumor")

    def centers(keys: object) -> set[str]:
        return {str(key).split("_")[1] for key in keys}  # type: ignore[attr-defined]

    assert data.shifted_val is not None
    assert centers(data.train.keys) == {"000", "003", "004"} and len(data.train) == 36
    assert len(data.val) + len(data.tests["id_test"]) == 24
    assert centers(data.shifted_val.keys) == {"001"} and centers(data.tests["ood_test"].keys) == {"002"}
    (tmp_path / data.val.keys[0]).unlink()
    with pytest.raises(UserError, match=r"metadata.csv, line \d+: cannot read the image"):
        loaded("camelyon17", tmp_path)


IWILDCAM = "split,filename,y,location_remapped\n"
CAMELYON = "patient,node,x_coord,y_coord,tumor,center,split,slide\n"


@pytest.mark.parametrize(
    ("source", "text", "message"),
    [
        ("iwildcam", f"{IWILDCAM}val2,a.jpg,1,1\n", "line 2: split is 'val2'"),
        ("iwildcam", f"{IWILDCAM}val,a.jpg,cat,1\n", "line 2: y is 'cat'"),
        ("iwildcam", IWILDCAM, "data.root: .*no image of the split train"),
        ("camelyon17", f"{CAMELYON}004,4,1,1,1,5,0,0\n", "line 2: center is '5'"),
        ("camelyon17", f"{CAMELYON}004,4,1,1,1,0,2,0\n", "line 2: split is '2'"),
        ("camelyon17", f"{CAMELYON}004,4,1,1,yes,0,0,0\n", "line 2: tumor is 'yes'"),
    ],
)
def test_tables_of_another_kind_are_refused(source: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        loaded(source, tmp_path)
    (tmp_path / "metadata.csv").unlink()
    with pytest.raises(UserError, match=r"metadata.csv"):
        loaded(source, tmp_path)


@pytest.mark.parametrize(("gone", "named"), [("train,train-7-", "classes 7,"), ("id_test,", "split id_test,")])
def test_what_the_table_lacks_is_named(gone: str, named: str, iwildcam: Path) -> None:
    table = iwildcam / "metadata.csv"
    table.write_text("\n".join(line for line in table.read_text().splitlines() if not line.startswith(gone)))
    with pytest.raises(UserError, match=rf"data\.root: .*metadata\.csv.*{named}"):
        loaded("iwildcam", iwildcam)
