"""ObjectNet's labels mean one or several ImageNet classes, by its own mapping files."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from published_tables import CLASSMAPS, needs_tables, read

from genrobust.core import LabelSpace, Subset, UserError
from genrobust.data.imagenet_classes import label_space
from genrobust.data.readers.objectnet import classes_of_folders, read_set

FOLDERS = {"chair": "Chair", "dress_shoe_men": "Dress shoe (men)", "air_freshener": "Air freshener"}
CLASSES = {"Chair": "barber chair; folding chair; rocking chair, rocker", "Dress shoe (men)": "Loafer"}
CHAIRS = (423, 559, 765)  # ImageNet labels of the three chairs
LOAFER = 630


@pytest.fixture
def objectnet(tmp_path: Path, save_jpeg: Callable[..., None]) -> Path:
    root = tmp_path / "objectnet-1.0"
    for folder in FOLDERS:
        for number in range(3):
            save_jpeg(root / "images" / folder / f"{number}.jpg", "red", (20, 16))
    (root / "mappings").mkdir()
    (root / "mappings" / "folder_to_objectnet_label.json").write_text(json.dumps(FOLDERS))
    (root / "mappings" / "objectnet_to_imagenet_1k.json").write_text(json.dumps(CLASSES))
    return root


def labels(tmp_path: Path, *numbers: int) -> LabelSpace:
    (tmp_path / "classes.txt").write_text("\n".join(map(str, numbers)))
    chosen = str(tmp_path / "classes.txt") if numbers else "all"
    return label_space(chosen, {})


@pytest.mark.parametrize("below", ["", "images"])
def test_any_class_of_a_label_is_right(objectnet: Path, tmp_path: Path, below: str) -> None:
    images = read_set("objectnet", objectnet / below, labels(tmp_path), "one-to-many")
    assert images.accepted is not None
    found = {key: (int(k), rights) for key, k, rights in zip(images.keys, images.labels, images.accepted, strict=True)}
    assert found == {f"chair/{n}.jpg": (423, CHAIRS) for n in range(3)} | {
        f"dress_shoe_men/{n}.jpg": (LOAFER, (LOAFER,)) for n in range(3)
    }
    assert "any of a label's ImageNet classes" in images.protocol


def test_the_paper_s_map_takes_the_first(objectnet: Path, tmp_path: Path) -> None:
    images = read_set("objectnet", objectnet, labels(tmp_path), "paper")
    assert images.accepted is None
    assert set(images.labels.tolist()) == {423, LOAFER}
    both = read_set("objectnet", objectnet, labels(tmp_path), "one-to-many")
    assert images.protocol != both.protocol and images.fingerprint != both.fingerprint


def test_classes_outside_the_study_are_not_right(objectnet: Path, tmp_path: Path) -> None:
    some = labels(tmp_path, 0, 559, 765)
    images = read_set("objectnet", objectnet, some, "one-to-many")
    assert images.accepted == ((1, 2),) * 3
    with pytest.raises(UserError, match=r"shares no class with the 3 of data\.classes"):
        read_set("objectnet", objectnet, some, "paper")


def test_a_part_of_the_set_keeps_what_is_right(objectnet: Path, tmp_path: Path) -> None:
    images = read_set("objectnet", objectnet, labels(tmp_path), "one-to-many")
    part = Subset(images, np.array([4, 0]))
    assert images.accepted is not None
    assert part.accepted == (images.accepted[4], images.accepted[0])
    assert part.protocol == images.protocol


def test_the_red_border_is_cut_off(objectnet: Path, tmp_path: Path) -> None:
    framed = Image.new("RGB", (20, 16), (255, 0, 0))
    framed.paste((0, 0, 255), (2, 2, 18, 14))
    for number in range(3):
        framed.save(objectnet / "images" / "chair" / f"{number}.png")
        (objectnet / "images" / "chair" / f"{number}.jpg").unlink()
    images = read_set("objectnet", objectnet, labels(tmp_path, 423, 559), "one-to-many")
    assert images.image(0).size == (16, 12)
    assert images.image(0).getcolors() == [(16 * 12, (0, 0, 255))]


CHAIR = "images/chair"
TO_IMAGENET, TO_LABEL = "mappings/objectnet_to_imagenet_1k.json", "mappings/folder_to_objectnet_label.json"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda o: shutil.rmtree(o / "mappings"), r"mappings/ is neither in it nor beside it"),
        (lambda o: (o / TO_IMAGENET).unlink(), rf"{TO_IMAGENET}: No such file"),
        (lambda o: (o / TO_IMAGENET).write_text('["Chair"]'), rf"{TO_IMAGENET}: .*unpack"),
        (lambda o: (o / TO_LABEL).write_text('{"chair": "Chair"}'), rf"{TO_LABEL}: .*unpack"),
        (lambda o: shutil.rmtree(o / CHAIR), r"no image in 1 of the 2 class folders .*: chair"),
    ],
)
def test_what_is_missing_or_damaged_is_named(
    objectnet: Path, tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(objectnet)
    with pytest.raises(UserError, match=said):
        read_set("objectnet", objectnet, labels(tmp_path), "one-to-many")


@pytest.fixture
def official(tmp_path: Path) -> dict[str, list[str]]:
    for name in ("folder_to_objectnet_label", "objectnet_to_imagenet_1k"):
        shutil.copy(CLASSMAPS / f"testbed_{name}.json", tmp_path / f"{name}.json")
    return classes_of_folders(tmp_path)


@needs_tables
def test_the_official_files_give_the_published_map(official: dict[str, list[str]]) -> None:
    published = defaultdict(list)
    for row in read(CLASSMAPS / "objectnet_to_imagenet.tsv", delimiter="\t"):
        published[row["objectnet_folder"]].append(row["wnid"])
    assert {folder: sorted(ids) for folder, ids in official.items()} == {f: sorted(i) for f, i in published.items()}
    assert (len(official), sum(map(len, official.values()))) == (113, 125)
    assert sum(len(ids) > 1 for ids in official.values()) == 9


@needs_tables
def test_the_first_class_is_the_paper_s(official: dict[str, list[str]]) -> None:
    label_of = json.loads((CLASSMAPS / "testbed_folder_to_objectnet_label.json").read_text())
    folder_of = {label: folder for folder, label in label_of.items()}
    paper = json.loads((CLASSMAPS / "bansal_objectnet_im1k_folder.json").read_text())
    assert {folder: ids[0] for folder, ids in official.items()} == {folder_of[label]: w for label, w in paper.items()}
