"""Tars, parquet files and saved datasets are read like folders of the same images."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from genrobust.core import ImageSet, Sample, UserError
from genrobust.data.imagenet_classes import descriptions, listed_by_timm, wnids
from genrobust.data.reader import load_data, read_shift
from genrobust.data.readers.imagenet import VALIDATION
from genrobust.data.shard_files import write_shard
from genrobust.data.stored import open_stored, open_unlabeled
from genrobust.recipe import DataConfig, ShiftConfig

NAMES = ["cat", "dog", "eel"]


def png(value: int) -> bytes:
    """An image that tells its number by its gray."""
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


def write_labeled_tar(path: Path, labels: list[int]) -> None:
    pairs = [(f"{i:04d}.png", png(i)) for i in range(len(labels))]
    write_tar(path, dict(pairs) | {f"{i:04d}.cls": str(k).encode() for i, k in enumerate(labels)})


def dataset(labels: list[int], names: list[str] | None = None) -> datasets.Dataset:
    label = datasets.ClassLabel(names=names) if names else datasets.Value("int64")
    features = datasets.Features({"image": datasets.Image(), "label": label})
    rows = {"image": [{"bytes": png(i), "path": None} for i in range(len(labels))], "label": labels}
    return datasets.Dataset.from_dict(rows, features)


def grays(images: ImageSet) -> Iterator[int]:
    with ThreadPoolExecutor(4) as pool:
        yield from pool.map(lambda i: images.image(i).getpixel((0, 0))[0], range(len(images)))


def folders(train: Path, test: Path, **keys: object) -> DataConfig:
    return DataConfig.model_validate({"source": "folders", "train": train, "test": test, **keys})


def test_tars_are_read_at_their_offsets(tmp_path: Path) -> None:
    write_labeled_tar(tmp_path / "train" / "000.tar", [0, 10, 9, 0])
    write_labeled_tar(tmp_path / "train" / "001.tar", [9, 10])
    data = load_data(folders(tmp_path / "train", tmp_path / "train" / "000.tar", class_names={"10": "eel"}))
    assert data.labels.names == ("0", "9", "eel")  # numbers, so 10 comes after 9
    test = data.tests["test"]
    found = {key: (gray, label) for key, gray, label in zip(test.keys, grays(test), test.labels.tolist(), strict=True)}
    assert found == {"000/0000": (0, 0), "000/0001": (1, 2), "000/0002": (2, 1), "000/0003": (3, 0)}
    assert len(data.train) + len(data.val) == 6


def test_hidden_folders_beside_tars_are_no_classes(tmp_path: Path) -> None:
    """Such as that of git, or the one that damaged shards are moved to."""
    write_labeled_tar(tmp_path / "000.tar", [0, 1])
    (tmp_path / ".damaged").mkdir()
    assert open_stored(tmp_path).groups == ("0", "1")


def test_a_folder_of_generated_shards_is_read_by_its_tars(tmp_path: Path) -> None:
    samples = [Sample(f"a-{i:06d}", i % 2, np.full((8, 8, 3), 9 * i, np.uint8)) for i in range(4)]
    write_shard(tmp_path, 0, samples, rejected=[])
    pq.write_table(pa.table({"key": ["a-000000"]}), tmp_path / "filter-0123.parquet")
    stored = open_stored(tmp_path)
    assert stored.groups == ("0", "1")
    assert sorted(stored.listing(stored.groups).groups) == ["0", "0", "1", "1"]


def test_the_classes_of_our_own_shards_and_exports_are_found_by_their_ids(tmp_path: Path) -> None:
    """Both number them, in the order of the study that made them: folders may have another."""
    ids = ("2", "10", "tea-pot")
    for name in ("2", "10", "Tea Pot"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(4):
            (tmp_path / "train" / name / f"{i}.png").write_bytes(png(i))
    (tmp_path / "made").mkdir()
    pictures = [np.full((8, 8, 3), i, np.uint8) for i in range(3)]
    samples = [Sample(f"{id}-{i:06d}", i, pictures[i], {"class_id": id}) for i, id in enumerate(ids)]
    write_shard(tmp_path / "made", 0, samples, rejected=[])
    rows = {f"a{i}.json": json.dumps({"label": i, "class_id": id}).encode() for i, id in enumerate(ids)}
    images = {f"a{i}.png": png(i) for i in range(3)} | {f"a{i}.cls": str(i).encode() for i in range(3)}
    write_tar(tmp_path / "export" / "a.tar", images | rows)
    for place in ("made", "export"):
        data = load_data(folders(tmp_path / "train", tmp_path / place))
        test = data.tests["test"]
        found = {data.labels.ids[k]: gray for k, gray in zip(test.labels.tolist(), grays(test), strict=True)}
        assert found == {"2": 0, "10": 1, "tea-pot": 2}


def test_a_label_can_lie_in_json(tmp_path: Path) -> None:
    facts = {f"a{i}.json": json.dumps({"label": i}).encode() for i in range(2)}
    write_tar(tmp_path / "a.tar", {"a0.png": png(0), "a1.PNG": png(1)} | facts)
    assert open_stored(tmp_path / "a.tar").groups == ("0", "1")


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
    found = sorted(zip(grays(images), images.labels.tolist(), strict=True))
    assert found == list(enumerate([1, 1, 0, 2, 2, 0, 1]))
    assert np.bincount(data.train.labels).tolist() == np.bincount(data.val.labels).tolist() == [1, 1, 1]


def test_what_is_held_back_of_parquet_is_no_run_of_its_rows(tmp_path: Path) -> None:
    """Rows may lie by patient or by photographer."""
    dataset([0] * 40 + [1] * 40, NAMES[:2]).to_parquet(tmp_path / "train.parquet")
    dataset([0, 1], NAMES[:2]).to_parquet(tmp_path / "test.parquet")
    data = load_data(folders(tmp_path / "train.parquet", tmp_path / "test.parquet", held_out=0.25))
    held = [sorted(int(gray) for gray, label in zip(grays(data.val), data.val.labels, strict=True) if label == k)
            for k in (0, 1)]  # fmt: skip
    assert [len(rows) for rows in held] == [10, 10]
    assert all(rows[-1] - rows[0] > 20 for rows in held)
    assert data.train.keys == sorted(data.train.keys), "which is read in order"


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


def test_a_changed_file_changes_the_fingerprint(tmp_path: Path) -> None:
    config = folders(tmp_path / "a.parquet", tmp_path / "a.parquet")
    dataset([0, 1, 0, 1], NAMES[:2]).to_parquet(tmp_path / "a.parquet")
    before = load_data(config).tests["test"].fingerprint
    assert load_data(config).tests["test"].fingerprint == before
    dataset([0, 1, 0, 1, 1], NAMES[:2]).to_parquet(tmp_path / "a.parquet")
    assert load_data(config).tests["test"].fingerprint != before


def compressed(path: Path) -> None:
    write_tar(path.with_suffix(".tar.gz"), {"a0.png": png(0)})
    path.with_suffix(".tar.gz").rename(path)


def without_bytes(path: Path) -> None:
    image = pa.array([{"bytes": None, "path": "a.png"}], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    pq.write_table(pa.table({"image": image, "label": [0]}), path)


def damaged_state(path: Path) -> None:
    path.mkdir()
    (path / "state.json").write_text("damaged")


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("a.tar", lambda p: write_tar(p, {"x/a0.png": png(0)}), r"a\.tar: the image x/a0 has no .* needs x/a0\.cls"),
        ("a.tar", lambda p: p.write_bytes(b"x" * 2000), r"cannot read .*a\.tar as a WebDataset tar"),
        ("a.tar", compressed, r"a\.tar as a WebDataset tar \(they are not compressed\)"),
        ("a.tar", lambda p: write_tar(p, {"a0.png": b"x", "a0.cls": b"0"}), r"a/a0 of .*a\.tar: it is no image"),
        ("train-*.parquet", lambda p: None, r"no file matches .*train-\*\.parquet"),
        ("a.parquet", lambda p: dataset([-1], NAMES).to_parquet(p), "row 0: the label -1 is none of 0 to 2"),
        ("a.parquet", lambda p: dataset([0]).rename_column("label", "x").to_parquet(p), "'label': it has image, x"),
        ("a.parquet", without_bytes, r"a\.parquet, row 0: the file holds no bytes of this image"),
        ("a.parquet", lambda p: p.write_text("damaged"), "cannot read .*a.parquet as parquet"),
        ("saved", damaged_state, "cannot read the saved dataset"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, write: Callable[[Path], object], said: str) -> None:
    write(tmp_path / name)
    with pytest.raises(UserError, match=said):
        open_stored(tmp_path / name).listing(["0"]).read(0)


def imagenet(tmp_path: Path, *numbers: int) -> DataConfig:
    (tmp_path / "classes.txt").write_text("\n".join(map(str, numbers)))
    return DataConfig(source="imagenet", root=tmp_path, classes=str(tmp_path / "classes.txt") if numbers else "all")


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


def test_label_names_are_in_imagenet_s_order_or_wordnet_ids(tmp_path: Path) -> None:
    classes = imagenet(tmp_path, 0, 999).folder_classes()
    turned = list(dict.fromkeys(f"{t}{i}" for i, t in enumerate(descriptions()[::-1])))
    dataset([0, 999], turned).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"only \d+ of its 1,000 label names are ImageNet's at that label"):
        VALIDATION.read("a", open_stored(tmp_path / "a.parquet"), classes, {})
    dataset([0, 999], list(wnids()[::-1])).to_parquet(tmp_path / "a.parquet")
    images = VALIDATION.read("a", open_stored(tmp_path / "a.parquet"), classes, {})
    assert images.labels.tolist() == [1, 0]


@pytest.mark.parametrize("numbering", ["imagenet", "own"])
def test_r_in_tars_may_count_its_200_classes_or_imagenet_s(tmp_path: Path, numbering: str) -> None:
    r = listed_by_timm("imagenet_r")
    labels = [wnids().index(wnid) if numbering == "imagenet" else n for n, wnid in enumerate(r)]
    write_labeled_tar(tmp_path / "r.tar", labels)
    shift = ShiftConfig(kind="imagenet-r", path=tmp_path / "r.tar")
    images = read_shift("r", shift, imagenet(tmp_path).folder_classes(), {})["r"]
    found = {int(key.split("/")[1]): wnids()[label] for key, label in zip(images.keys, images.labels, strict=True)}
    assert found == dict(enumerate(r))


def unlabeled_folder(folder: Path) -> None:
    for key in ("0.png", "deep/1.png", "deep/er/2.png"):
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(png(int(Path(key).stem)))
    (folder / "notes.txt").write_text("no image")


def unlabeled_tars(folder: Path) -> None:
    """As img2dataset writes them: captions and facts beside the images, and a table beside each tar."""
    for number, files in enumerate(([0, 1], [2])):
        of = {f"{i}.png": png(i) for i in files} | {f"{i}.txt": b"a caption" for i in files}
        write_tar(folder / f"{number:05d}.tar", of | {f"{i}.json": b'{"caption": "a cup"}' for i in files})
        pq.write_table(pa.table({"url": ["x"] * len(files)}), folder / f"{number:05d}.parquet")


def unlabeled_parquet(folder: Path) -> None:
    folder.mkdir()
    dataset([0, 0, 0]).remove_columns("label").to_parquet(folder / "part.parquet")


def unlabeled_saved(folder: Path) -> None:
    dataset([0, 0, 0]).remove_columns("label").save_to_disk(folder)


def labeled_tars(folder: Path) -> None:
    write_labeled_tar(folder / "a.tar", [2, 1, 0])


def labeled_parquet(folder: Path) -> None:
    folder.mkdir()
    dataset([2, 1, 0], NAMES).to_parquet(folder / "part.parquet")


@pytest.mark.parametrize(
    "write",
    [
        unlabeled_folder,
        unlabeled_tars,
        unlabeled_parquet,
        unlabeled_saved,
        labeled_tars,
        labeled_parquet,
    ],
)
def test_images_to_search_are_read_without_labels(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / "pool")
    images = open_unlabeled("data.retrieved.search", tmp_path / "pool")
    assert sorted(grays(images)) == [0, 1, 2]
    assert images.labels.tolist() == [0, 0, 0] and len(set(images.keys)) == 3 and images.name == "pool"


@pytest.mark.parametrize(
    ("write", "place", "says"),
    [
        (lambda folder: None, "pool", "cannot read .*pool"),
        (lambda folder: folder.mkdir(), "pool", r"data\.retrieved\.search: .*pool holds no image"),
        (lambda folder: unlabeled_folder(folder), "pool/*.tar", r"no file matches .*\*\.tar"),
        (lambda folder: unlabeled_folder(folder), "pool/*.png", r"pool/\*\.png matches no \.parquet or \.tar"),
        (lambda folder: unlabeled_folder(folder), "pool/notes.txt", "notes.txt"),
        (lambda folder: write_tar(folder / "a.tar", {"a.txt": b""}), "pool", "holds no image"),
        (lambda folder: write_tar(folder / "a.tar", {"../a.png": png(0)}), "pool", "leads out of the tar"),
        (
            lambda folder: [write_tar(folder / f"{split}.tar", {"a.png": png(0)}) for split in ("train", "test")],
            "pool",
            "holds several splits",
        ),
    ],
)
def test_a_place_without_images_to_search_is_named(
    write: Callable[[Path], object], place: str, says: str, tmp_path: Path
) -> None:
    write(tmp_path / "pool")
    with pytest.raises(UserError, match=says):
        open_unlabeled("data.retrieved.search", tmp_path / place)
