"""Tars and parquet files are read like folders of the same images."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stored_files import gray, labeled_tar, png, table, tar, write_parquet

from genrobust.core import ImageSet, Sample, UserError
from genrobust.data import begin_dataset, load_data, open_stored, write_shard
from genrobust.data.imagenet_classes import descriptions, listed_by_timm, wnids
from genrobust.data.readers.imagenet import VALIDATION
from genrobust.data.stored_images import open_unlabeled
from genrobust.recipe import DataConfig, ImagesConfig

NAMES = ["cat", "dog", "eel"]


def write_tar(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def dataset(labels: list[int], names: list[str] | None = None) -> datasets.Dataset:
    """A dataset of Hugging Face whose image n has the gray n."""
    label = datasets.ClassLabel(names=names) if names else datasets.Value("int64")
    features = datasets.Features({"image": datasets.Image(), "label": label})
    rows = {"image": [{"bytes": png(i), "path": None} for i in range(len(labels))], "label": labels}
    return datasets.Dataset.from_dict(rows, features)


def grays(images: ImageSet) -> list[int]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda i: gray(images.image(i)), range(len(images))))


def folders(train: Path, test: Path, **keys: object) -> DataConfig:
    return DataConfig.model_validate({"source": "folders", "train": train, "test": test, **keys})


def test_tars_are_read_at_their_offsets(tmp_path: Path) -> None:
    write_tar(tmp_path / "train" / "000.tar", labeled_tar([0, 10, 9, 0]))
    write_tar(tmp_path / "train" / "001.tar", labeled_tar([9, 10]))
    write_tar(tmp_path / "test" / "000.tar", labeled_tar([0, 10, 9, 0]))
    (tmp_path / "train" / ".damaged").mkdir()  # no class: damaged shards are moved to it
    data = load_data(folders(tmp_path / "train", tmp_path / "test" / "000.tar", class_names={"10": "eel"}))
    assert data.labels.names == ("0", "9", "eel")  # numbers, so 10 comes after 9
    test = data.tests["test"]
    found = dict(zip(test.keys, zip(grays(test), test.labels.tolist(), strict=True), strict=True))
    assert found == {"000/0000": (0, 0), "000/0001": (1, 2), "000/0002": (2, 1), "000/0003": (3, 0)}
    assert len(data.train) + len(data.val) == 6


def test_a_folder_of_generated_shards_is_read_by_its_tars(tmp_path: Path) -> None:
    samples = [Sample(f"a-{i:06d}", i % 2, np.full((8, 8, 3), 9 * i, np.uint8)) for i in range(4)]
    begin_dataset(tmp_path, {"shards": 2})
    write_shard(tmp_path, 0, samples[:3], rejected=[])
    (tmp_path / "filters").mkdir()
    with pytest.raises(UserError, match="1 of 2 shards are missing"):  # and with them perhaps whole classes
        open_stored(tmp_path)
    write_shard(tmp_path, 1, samples[3:], rejected=[])
    stored = open_stored(tmp_path)
    assert stored.groups == ("0", "1")
    assert sorted(stored.listing(stored.groups).groups) == ["0", "0", "1", "1"]


def test_the_classes_of_our_own_shards_and_exports_are_found_by_their_ids(tmp_path: Path) -> None:
    """Both number them, in the order of the study that made them: folders may have another."""
    ids = ("2", "10", "tea-pot")
    for name in ("2", "10", "Tea Pot"):
        for i in range(4):
            write_tar(tmp_path / "train" / name / f"{i}.png", png(i))
    (tmp_path / "made").mkdir()
    pictures = [np.full((8, 8, 3), i, np.uint8) for i in range(3)]
    samples = [Sample(f"{id}-{i:06d}", i, pictures[i], {"class_id": id}) for i, id in enumerate(ids)]
    write_shard(tmp_path / "made", 0, samples, rejected=[])
    exported = [(f"a{i}.json", json.dumps({"label": i, "class_id": id}).encode()) for i, id in enumerate(ids)]
    exported += [pair for i in range(3) for pair in ((f"a{i}.png", png(i)), (f"a{i}.cls", str(i).encode()))]
    write_tar(tmp_path / "export" / "a.tar", tar(*exported))
    for place in ("made", "export"):
        data = load_data(folders(tmp_path / "train", tmp_path / place))
        test = data.tests["test"]
        found = {data.labels.ids[k]: shade for k, shade in zip(test.labels.tolist(), grays(test), strict=True)}
        assert found == {"2": 0, "10": 1, "tea-pot": 2}


def test_a_hugging_face_dataset_trains_and_tests(tmp_path: Path) -> None:
    train, test = dataset([2, 0, 1, 2, 0, 1], NAMES), dataset([1, 1, 0, 2, 2, 0, 1], NAMES)
    train.to_parquet(tmp_path / "train-00000-of-00001.parquet")
    test.to_parquet(tmp_path / "test.parquet", batch_size=2)  # several row groups
    assert pq.ParquetFile(tmp_path / "test.parquet").num_row_groups == 4
    data = load_data(folders(tmp_path / "train-*.parquet", tmp_path / "test.parquet"))
    assert data.labels.ids == tuple(NAMES)
    images = data.tests["test"]
    assert sorted(zip(grays(images), images.labels.tolist(), strict=True)) == list(enumerate([1, 1, 0, 2, 2, 0, 1]))
    assert np.bincount(data.train.labels).tolist() == np.bincount(data.val.labels).tolist() == [1, 1, 1]


def test_what_is_held_back_of_parquet_is_no_run_of_its_rows(tmp_path: Path) -> None:
    """Rows may lie by patient or by photographer."""
    train = write_parquet(tmp_path / "train.parquet", table([0] * 40 + [1] * 40), rows=50)
    data = load_data(folders(train, write_parquet(tmp_path / "test.parquet"), held_out=0.25))
    for label in (0, 1):
        held = sorted(np.array(grays(data.val))[data.val.labels == label])
        assert len(held) == 10 and held[-1] - held[0] > 20
    assert data.train.keys == sorted(data.train.keys), "which is read in order"


def test_a_class_that_is_not_unpacked_is_named(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write_tar(tmp_path / name / "1.png", png(1))
    write_tar(tmp_path / "dog.tar", labeled_tar([1]))  # what it was unpacked from
    assert open_stored(tmp_path).groups == ("cat", "dog")
    write_tar(tmp_path / "eel.tar.gz", b"")
    with pytest.raises(UserError, match=r"eel\.tar\.gz lies beside the folders of classes"):
        open_stored(tmp_path)


def test_splits_side_by_side_are_refused(tmp_path: Path) -> None:
    for name in ("train-00000-of-00001", "validation-00000-of-00001"):
        write_parquet(tmp_path / f"{name}.parquet", table(names=NAMES))
    with pytest.raises(UserError, match=r"several splits \(train, validation\).*train\*\.parquet"):
        open_stored(tmp_path)
    assert open_stored(tmp_path / "validation*.parquet").groups == tuple(NAMES)


def imagenet(tmp_path: Path, *numbers: int) -> DataConfig:
    (tmp_path / "classes.txt").write_text("\n".join(map(str, numbers)))
    return DataConfig(source="imagenet", root=tmp_path, classes=str(tmp_path / "classes.txt") if numbers else "all")


def test_imagenet_s_repository_is_found_and_labels_taken_in_order(tmp_path: Path) -> None:
    names = [text if label != 517 else "crane2" for label, text in enumerate(descriptions())]
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", table([0, 134, 517] * 2 + [999], names=names))
    write_parquet(tmp_path / "data" / "validation-00000-of-00001.parquet", table([517, 134, 0], names=names))
    data = load_data(imagenet(tmp_path, 0, 134, 517))
    assert data.tests["test"].labels.tolist() == [2, 1, 0]
    assert data.labels.names == ("tench", "crane bird", "construction crane")
    assert len(data.train) + len(data.val) == 6


def test_label_names_are_in_imagenet_s_order_or_wordnet_ids(tmp_path: Path) -> None:
    classes, path = imagenet(tmp_path, 0, 999).folder_classes(), tmp_path / "a.parquet"
    write_parquet(path, table([0, 999], names=[f"{t}{i}" for i, t in enumerate(descriptions()[::-1])]))
    with pytest.raises(UserError, match=r"only \d+ of its 1,000 label names"):
        VALIDATION.read("a", open_stored(path), classes, {})
    write_parquet(path, table([0, 999], names=list(wnids()[::-1])))
    assert VALIDATION.read("a", open_stored(path), classes, {}).labels.tolist() == [1, 0]


@pytest.mark.parametrize("numbering", ["imagenet", "own"])
def test_r_in_tars_may_count_its_200_classes_or_imagenet_s(tmp_path: Path, numbering: str) -> None:
    r = listed_by_timm("imagenet_r")
    labels = [wnids().index(wnid) if numbering == "imagenet" else n for n, wnid in enumerate(r)]
    shift = ImagesConfig(kind="imagenet-r", path=write_tar(tmp_path / "r.tar", labeled_tar(labels)))
    images = shift.open("r", imagenet(tmp_path).folder_classes(), {})["r"]
    found = {int(key.split("/")[1]): wnids()[label] for key, label in zip(images.keys, images.labels, strict=True)}
    assert found == dict(enumerate(r))


def unlabeled_folder(folder: Path) -> None:
    for key in ("0.png", "deep/1.png", "deep/er/2.png"):
        write_tar(folder / key, png(int(Path(key).stem)))
    (folder / "notes.txt").write_text("no image")


def beside(folder: Path, name: str) -> None:
    """A tar, and images in a file of another kind."""
    write_tar(folder / "a.tar", labeled_tar([0]))
    write_tar(folder / name, png(1))


def unlabeled_tars(folder: Path) -> None:
    """As img2dataset writes them: captions and facts beside the images, and a table beside each tar."""
    for number, files in enumerate(([0, 1], [2])):
        of = [(f"{i}.{kind}", data) for i in files for kind, data in (("png", png(i)), ("txt", b"cup"), ("json", b"{"))]
        write_tar(folder / f"{number:05d}.tar", tar(*of))
        pq.write_table(pa.table({"url": ["x"] * len(files)}), folder / f"{number:05d}.parquet")


@pytest.mark.parametrize(
    "write",
    [
        unlabeled_folder,
        unlabeled_tars,
        lambda folder: write_parquet(folder / "part.parquet", table([0] * 3).drop_columns("label")),
        lambda folder: write_tar(folder / "a.tar", labeled_tar([2, 1, 0])),
        lambda folder: write_parquet(folder / "part.parquet", table([2, 1, 0], names=NAMES)),
    ],
    ids=["folder", "tars", "parquet", "labeled tars", "labeled parquet"],
)
def test_images_to_search_are_read_without_labels(write: Callable[[Path], object], tmp_path: Path) -> None:
    write(tmp_path / "pool")
    images = open_unlabeled("data.retrieved.search", tmp_path / "pool")
    assert sorted(grays(images)) == [0, 1, 2]
    assert images.labels.tolist() == [0, 0, 0] and len(set(images.keys)) == 3 and images.name == "pool"


@pytest.mark.parametrize(
    ("write", "place", "named"),
    [
        (lambda folder: None, "pool", "cannot read .*pool"),
        (lambda folder: folder.mkdir(), "pool", r"data\.retrieved\.search: .*pool holds no image"),
        (unlabeled_folder, "pool/*.tar", r"no file matches .*\*\.tar"),
        (lambda folder: write_tar(folder / "a.tar", tar(("a.txt", b""))), "pool", "holds no image"),
        (
            lambda folder: [write_tar(folder / f"{n}.tar", labeled_tar([0])) for n in ("Train00", "eval")],
            "pool",
            "several splits",
        ),
        (lambda folder: write_tar(folder / "a.zip", b"PK"), "pool/a.zip", "unpack this one"),
        (lambda folder: beside(folder, "b.tar.gz"), "pool", r"a\.tar and in b\.tar\.gz, .*pool/\*\.tar"),
        (lambda folder: beside(folder, "b.png"), "pool", r"a\.tar and in b\.png, .*remove the others"),
        (lambda folder: beside(folder, "b.TAR"), "pool/*", r"a\.tar and in b\.TAR"),
    ],
)
def test_a_place_without_images_to_search_is_named(
    write: Callable[[Path], object], place: str, named: str, tmp_path: Path
) -> None:
    write(tmp_path / "pool")
    with pytest.raises(UserError, match=named):
        open_unlabeled("data.retrieved.search", tmp_path / place)
