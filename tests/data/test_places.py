"""Tars, parquet files and saved datasets are read like folders of the same images."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from genrobust.core.errors import UserError
from genrobust.core.images import Sample
from genrobust.data.folders import read_classes
from genrobust.data.imagenet import open_set
from genrobust.data.imagenet_classes import descriptions, listed_by_timm, wnids
from genrobust.data.load import load_data
from genrobust.data.stored import open_stored
from genrobust.data.shards import write_shard
from genrobust.recipe.data import DataConfig

NAMES = ["cat", "dog", "eel"]


def png(value: int) -> bytes:
    """An image that tells its number by its grey."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (value, value, value)).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def write_labelled_tar(path: Path, labels: list[int]) -> None:
    pairs = [(f"{i:04d}.png", png(i)) for i in range(len(labels))]
    write_tar(path, dict(pairs) | {f"{i:04d}.cls": str(k).encode() for i, k in enumerate(labels)})


def dataset(labels: list[int], names: list[str] | None = None) -> datasets.Dataset:
    label = datasets.ClassLabel(names=names) if names else datasets.Value("int64")
    features = datasets.Features({"image": datasets.Image(), "label": label})
    rows = {"image": [{"bytes": png(i), "path": None} for i in range(len(labels))], "label": labels}
    return datasets.Dataset.from_dict(rows, features)


def greys(images: Any) -> Iterator[int]:
    with ThreadPoolExecutor(4) as pool:
        yield from pool.map(lambda i: images.image(i).getpixel((0, 0))[0], range(len(images)))


def folders(train: Path, test: Path, **keys: object) -> DataConfig:
    return DataConfig.model_validate({"source": "folders", "train": train, "test": test, **keys})


# --------------------------------------------------------------------------------------------- tars


def test_tars_are_read_at_their_offsets(tmp_path: Path) -> None:
    write_labelled_tar(tmp_path / "train" / "000.tar", [0, 10, 9, 0])
    write_labelled_tar(tmp_path / "train" / "001.tar", [9, 10])
    data = load_data(folders(tmp_path / "train", tmp_path / "train" / "000.tar", class_names={"10": "eel"}))
    assert data.labels.names == ("0", "9", "eel")  # numbers, so 10 comes after 9
    test = data.tests["test"]
    found = {key: (grey, label) for key, grey, label in zip(test.keys, greys(test), test.labels.tolist(), strict=True)}
    assert found == {"000/0000": (0, 0), "000/0001": (1, 2), "000/0002": (2, 1), "000/0003": (3, 0)}
    assert len(data.train) + len(data.val) == 6


def test_a_folder_of_generated_shards_is_read_by_its_tars(tmp_path: Path) -> None:
    samples = [Sample(f"a-{i:06d}", i % 2, np.full((8, 8, 3), 9 * i, np.uint8)) for i in range(4)]
    write_shard(tmp_path, 0, samples, rejected=[])
    pq.write_table(pa.table({"key": ["a-000000"]}), tmp_path / "filter-0123.parquet")
    place = open_stored(tmp_path)
    assert place.groups == ("0", "1")
    assert sorted(place.listing(place.groups).groups) == ["0", "0", "1", "1"]


def test_a_label_can_lie_in_json(tmp_path: Path) -> None:
    facts = {f"a{i}.json": json.dumps({"label": i}).encode() for i in range(2)}
    write_tar(tmp_path / "a.tar", {"a0.png": png(0), "a1.PNG": png(1)} | facts)
    assert open_stored(tmp_path / "a.tar").groups == ("0", "1")


def test_an_image_without_a_class_is_named(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"x/a0.png": png(0), "x/a0.cls": b"0", "x/a1.png": png(1)})
    with pytest.raises(UserError, match=r"a\.tar: the image x/a1 has no class: it needs x/a1\.cls"):
        open_stored(tmp_path / "a.tar")


def test_a_file_that_is_no_tar_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"x" * 2000)
    with pytest.raises(UserError, match=r"cannot read .*a\.tar as a WebDataset tar"):
        open_stored(tmp_path / "a.tar")
    write_tar(tmp_path / "b.tar.gz", {"a0.png": png(0)})
    (tmp_path / "b.tar.gz").rename(tmp_path / "b.tar")
    with pytest.raises(UserError, match=r"b\.tar as a WebDataset tar \(they are not compressed\)"):
        open_stored(tmp_path / "b.tar")


def test_a_damaged_image_in_a_tar_is_named(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"a0.png": b"no picture", "a0.cls": b"0"})
    listing = open_stored(tmp_path / "a.tar").listing(["0"])
    with pytest.raises(UserError, match=r"a/a0 of .*a\.tar: it is no image"):
        listing.read(0)


# --------------------------------------------------------------------------------------------- Hugging Face


@pytest.mark.parametrize("kind", ["parquet", "saved"])
def test_a_hugging_face_dataset_trains_and_tests(tmp_path: Path, kind: str) -> None:
    train, test = dataset([2, 0, 1, 2, 0, 1], NAMES), dataset([1, 1, 0, 2, 2, 0, 1], NAMES)
    if kind == "parquet":
        train.to_parquet(tmp_path / "train-00000-of-00001.parquet")
        test.to_parquet(tmp_path / "test.parquet", batch_size=2)  # several row groups
        assert pq.ParquetFile(tmp_path / "test.parquet").num_row_groups == 4
        data = load_data(folders(tmp_path / "train-*.parquet", tmp_path / "test.parquet"))
    else:
        train.save_to_disk(tmp_path / "train", num_shards=2)
        test.save_to_disk(tmp_path / "test", num_shards=2)
        data = load_data(folders(tmp_path / "train", tmp_path / "test"))
    assert data.labels.ids == tuple(NAMES)
    images = data.tests["test"]
    found = sorted(zip(greys(images), images.labels.tolist(), strict=True))
    assert found == list(enumerate([1, 1, 0, 2, 2, 0, 1]))
    assert np.bincount(data.train.labels).tolist() == np.bincount(data.val.labels).tolist() == [1, 1, 1]


def test_labels_without_names_are_numbers(tmp_path: Path) -> None:
    dataset([3, 12, 3]).to_parquet(tmp_path / "a.parquet")
    assert open_stored(tmp_path / "a.parquet").groups == ("3", "12")


def test_splits_side_by_side_are_refused(tmp_path: Path) -> None:
    for name in ("train-00000-of-00001", "validation-00000-of-00001"):
        dataset([0, 1], NAMES).to_parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(UserError, match=r"holds several splits \(train, validation\): name one, .*train\*\.parquet"):
        open_stored(tmp_path)
    assert open_stored(tmp_path / "validation*.parquet").groups == tuple(NAMES)
    datasets.DatasetDict({"train": dataset([0], NAMES), "test": dataset([1], NAMES)}).save_to_disk(tmp_path / "both")
    with pytest.raises(UserError, match=r"both holds several splits: name one of them, such as .*both/test"):
        open_stored(tmp_path / "both")


def test_a_pattern_without_a_match_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file matches .*train-\*\.parquet"):
        open_stored(tmp_path / "train-*.parquet")


def test_a_split_without_labels_is_named(tmp_path: Path) -> None:
    dataset([-1, -1], NAMES).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"row 0: the label -1 is none of 0 to 2 \(a test split without labels\?\)"):
        open_stored(tmp_path / "a.parquet")


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    dataset([0]).rename_column("label", "target").to_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match="no column 'label': it has image, target"):
        open_stored(tmp_path / "a.parquet")


def test_a_table_that_only_points_to_images_is_named(tmp_path: Path) -> None:
    image = pa.array([{"bytes": None, "path": "a.png"}], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    pq.write_table(pa.table({"image": image, "label": [0]}), tmp_path / "a.parquet")
    listing = open_stored(tmp_path / "a.parquet").listing(["0"])
    with pytest.raises(UserError, match=r"a\.parquet, row 0: the file holds no bytes of this image"):
        listing.read(0)


@pytest.mark.parametrize("name", ["a.parquet", "saved/state.json"])
def test_a_damaged_dataset_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("damaged")
    with pytest.raises(UserError, match="cannot read"):
        open_stored(tmp_path / name.split("/")[0])


def test_a_changed_file_changes_the_fingerprint(tmp_path: Path) -> None:
    config = folders(tmp_path / "a.parquet", tmp_path / "a.parquet")
    dataset([0, 1, 0, 1], NAMES[:2]).to_parquet(tmp_path / "a.parquet")
    before = load_data(config).tests["test"].fingerprint
    assert load_data(config).tests["test"].fingerprint == before
    dataset([0, 1, 0, 1, 1], NAMES[:2]).to_parquet(tmp_path / "a.parquet")
    assert load_data(config).tests["test"].fingerprint != before


# --------------------------------------------------------------------------------------------- ImageNet in these


def imagenet(tmp_path: Path, *numbers: int) -> DataConfig:
    (tmp_path / "classes.txt").write_text("\n".join(map(str, numbers)))
    return DataConfig(source="imagenet", root=tmp_path, classes=str(tmp_path / "classes.txt"))


def test_imagenet_s_repository_is_found_and_labels_taken_in_order(tmp_path: Path) -> None:
    names = [text if label != 517 else "crane2" for label, text in enumerate(descriptions())]
    (tmp_path / "data").mkdir()
    train, val = [0, 134, 517] * 2 + [999], [517, 134, 0]
    dataset(train, names).to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    dataset(val, names).to_parquet(tmp_path / "data" / "validation-00000-of-00001.parquet")
    data = load_data(imagenet(tmp_path, 0, 134, 517))
    assert data.tests["test"].labels.tolist() == [2, 1, 0]
    assert data.labels.names == ("tench", "crane bird", "construction crane")
    assert len(data.train) + len(data.val) == 6


def test_labels_in_another_order_are_refused(tmp_path: Path) -> None:
    dataset([0, 134], list(dict.fromkeys(f"{t}{i}" for i, t in enumerate(descriptions()[::-1])))).to_parquet(
        tmp_path / "a.parquet"
    )
    with pytest.raises(UserError, match=r"only \d+ of its 1,000 label names are ImageNet's at that label"):
        open_set("a", tmp_path / "a.parquet", "folders", read_classes(imagenet(tmp_path, 0, 134)))


def test_label_names_may_be_wordnet_ids_in_any_order(tmp_path: Path) -> None:
    dataset([0, 999], list(wnids()[::-1])).to_parquet(tmp_path / "a.parquet")
    images = open_set("a", tmp_path / "a.parquet", "validation", read_classes(imagenet(tmp_path, 0, 999)))
    assert images.labels.tolist() == [1, 0]


@pytest.mark.parametrize("numbering", ["imagenet", "own"])
def test_r_in_tars_may_count_its_200_classes_or_imagenet_s(tmp_path: Path, numbering: str) -> None:
    r = listed_by_timm("imagenet_r")
    labels = [wnids().index(wnid) if numbering == "imagenet" else n for n, wnid in enumerate(r)]
    write_labelled_tar(tmp_path / "r.tar", labels)
    classes = read_classes(DataConfig(source="imagenet", root=tmp_path))
    images = open_set("r", tmp_path / "r.tar", "imagenet-r", classes)
    found = {int(key.split("/")[1]): wnids()[label] for key, label in zip(images.keys, images.labels, strict=True)}
    assert found == dict(enumerate(r))
