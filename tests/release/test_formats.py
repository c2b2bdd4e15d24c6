"""Each form read back by the programs that it is for: the same pixels, labels and metadata, each image once."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import IDS, PER_CLASS, exported, read_json, write_dataset
from PIL import Image
from timm.data import create_dataset
from torchvision.datasets import ImageFolder
from typer.testing import Result
from webdataset import WebDataset

from genrobust.core.images import Sample
from genrobust.core.keys import digest
from genrobust.release.formats import parquet, tars
from genrobust.release.parts import ranges, safe_names

datasets = pytest.importorskip("datasets")
Export = Callable[..., Result]
VAL = 2  # images a class that validate: --val 0.25 of eight
PARTS = {"train": PER_CLASS - VAL, "validation": VAL}


def pixels(image: Image.Image) -> str:
    return digest(np.asarray(image.convert("RGB")).tolist())


@pytest.fixture(scope="session")
def by_key(samples: list[Sample]) -> dict[str, Sample]:
    return {s.key: s for s in samples}


def same(rows: dict[str, list[dict[str, Any]]], by_key: dict[str, Sample]) -> None:
    """Every row is a sample, and every sample is one row of one part, as many of each class as was asked for."""
    assert sorted(row["key"] for of_part in rows.values() for row in of_part) == sorted(by_key)
    for name, of_part in rows.items():
        assert Counter(row["label"] for row in of_part) == dict.fromkeys(range(len(IDS)), PARTS[name])
        for row in of_part:
            wanted = by_key[row["key"]]
            assert (row["label"], row["class_id"]) == (wanted.label, IDS[wanted.label])
            assert pixels(row["image"]) == digest(wanted.image.tolist())
            known = ("prompt", "template", "style", "seed", "generator", "mode", "steps", "guidance_scale", "redraws")
            assert {k: row[k] for k in known} == {k: wanted.meta[k] for k in known}


def loaded(tmp_path: Path, *words: str, **more: Any) -> dict[str, list[dict[str, Any]]]:
    found = datasets.load_dataset(*words, cache_dir=str(tmp_path / "cache"), **more)
    return {name: list(found[name]) for name in found}


def test_parquet_opens_with_hugging_face(
    export: Export, tmp_path: Path, by_key: dict[str, Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "PARQUET_BYTES", 10_000)
    folder = exported(export("--to", "parquet", "--val", 0.25), tmp_path / "out")
    assert len(list((folder / "data").glob("train-*.parquet"))) > 1
    same(loaded(tmp_path, str(folder)), by_key)
    features = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))["train"].features
    assert features["label"] == datasets.ClassLabel(names=list(IDS))
    assert features["image"] == datasets.Image()
    (folder / "README.md").unlink()  # what the card says, the files say too
    again = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "without"))["train"].features
    assert again == features


def test_images_in_parquet_are_the_bytes_of_the_shards(export: Export, tmp_path: Path, dataset: Path) -> None:
    folder = exported(export("--to", "parquet"), tmp_path / "out")
    files = str(folder / "data" / "*.parquet")
    rows = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))["train"]
    found = {row["key"]: row["image"]["bytes"] for row in rows.cast_column("image", datasets.Image(decode=False))}
    shards = WebDataset([str(p) for p in sorted(dataset.glob("*.tar"))], shardshuffle=False)
    assert found == {s["__key__"]: s["png"] for s in shards}


def test_imagefolder_is_read_by_torchvision(export: Export, tmp_path: Path, by_key: dict[str, Sample]) -> None:
    folder = exported(export("--to", "imagefolder", "--val", 0.25), tmp_path / "out")
    classes = safe_names(IDS)
    for part, each in PARTS.items():
        found = ImageFolder(str(folder / part))
        assert found.classes == sorted(classes)
        assert len(found) == each * len(IDS)
        for image, (path, target) in zip((image for image, _ in found), found.samples, strict=True):
            wanted = by_key[Path(path).stem]
            assert found.classes[target] == classes[wanted.label]
            assert pixels(image) == digest(wanted.image.tolist())


@pytest.mark.parametrize("by_name", [True, False], ids=["imagefolder", "folder alone"])
def test_imagefolder_is_read_by_hugging_face(
    export: Export, tmp_path: Path, by_key: dict[str, Sample], by_name: bool
) -> None:
    folder = exported(export("--to", "imagefolder", "--val", 0.25), tmp_path / "out")
    words = {"path": "imagefolder", "data_dir": str(folder)} if by_name else {"path": str(folder)}
    same(loaded(tmp_path, **words), by_key)


def decoded(samples: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            **json.loads(s["json"]),
            "image": Image.open(io.BytesIO(s["png"])),
            "key": s["__key__"],
            "label": int(s["cls"]),
        }
        for s in samples
    ]


@pytest.fixture
def tar_folder(export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tars, "TAR_BYTES", 10_000)
    return exported(export("--to", "webdataset", "--val", 0.25), tmp_path / "out")


def test_tars_are_read_by_webdataset(tar_folder: Path, by_key: dict[str, Sample]) -> None:
    rows = {}
    for part, split in read_json(tar_folder / "_info.json")["splits"].items():
        files = [str(tar_folder / name) for name in split["filenames"]]
        assert files == sorted(map(str, (tar_folder / "data").glob(f"{part}-*.tar")))
        lengths = [sum(1 for _ in WebDataset(file, shardshuffle=False)) for file in files]
        assert (split["shard_lengths"], split["num_samples"]) == (lengths, sum(lengths))
        rows[part] = decoded(WebDataset(files, shardshuffle=False))
    assert len(read_json(tar_folder / "_info.json")["splits"]["train"]["filenames"]) > 1
    same(rows, by_key)


def test_tars_are_read_by_timm(tar_folder: Path, by_key: dict[str, Sample]) -> None:
    for part, each in PARTS.items():
        found = create_dataset("wds/", root=str(tar_folder), split=part, batch_size=1)
        pairs = Counter((pixels(image), target) for image, target in found)
        assert pairs.total() == len(found) == each * len(IDS)
        assert pairs <= Counter((digest(s.image.tolist()), s.label) for s in by_key.values())


def test_tars_are_read_by_hugging_face(tar_folder: Path, tmp_path: Path, by_key: dict[str, Sample]) -> None:
    rows = loaded(tmp_path, str(tar_folder))
    same(
        {n: [{**r["json"], "image": r["png"], "key": r["__key__"], "label": r["cls"]} for r in rows[n]] for n in rows},
        by_key,
    )


@pytest.mark.parametrize("to", ["imagefolder", "webdataset", "parquet"])
def test_the_same_export_is_the_same_bytes(export: Export, tmp_path: Path, to: str) -> None:
    found = []
    for _ in range(2):
        folder = exported(export("--to", to, "--val", 0.25, "--overwrite"), tmp_path / "out")
        found.append({p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()})
    assert found[0] == found[1]


def test_another_dataset_validates(export: Export, tmp_path: Path, samples: list[Sample]) -> None:
    others = [Sample(s.key.replace("-0000", "-val-0000"), s.label, s.image, s.meta) for s in samples[: 2 * len(IDS)]]
    other = write_dataset(tmp_path / "other", others, mode="labels", plan="other")
    folder = exported(export("--to", "parquet", "--val-dataset", other), tmp_path / "out")
    rows = loaded(tmp_path, str(folder))
    assert [r["key"] for r in rows["train"]] == [s.key for s in samples]
    assert [r["key"] for r in rows["validation"]] == [s.key for s in others]


def test_images_from_one_real_image_stay_together(
    export: Export, tmp_path: Path, samples: list[Sample], by_key: dict[str, Sample]
) -> None:
    paired = [
        Sample(s.key, s.label, s.image, {**s.meta, "source": f"{IDS[s.label]}/{int(s.key[-6:]) // 2}"}) for s in samples
    ]
    source = write_dataset(tmp_path / "paired", paired)
    folder = exported(export("--to", "parquet", "--val", 0.25, source=source), tmp_path / "out")
    rows = loaded(tmp_path, str(folder))
    same(rows, by_key)
    sources = [{r["source"] for r in rows[part]} for part in PARTS]
    assert sources[0] & sources[1] == set()
    assert len(sources[1]) == len(IDS)


def test_what_validates_is_drawn_class_by_class(export: Export, tmp_path: Path, samples: list[Sample]) -> None:
    """More images of one class do not change what validates of the others."""
    first = loaded(tmp_path, str(exported(export("--to", "parquet", "--val", 0.25), tmp_path / "out")))
    fewer = write_dataset(tmp_path / "fewer", [s for s in samples if s.label or int(s.key[-6:]) < 4])
    done = export("--to", "parquet", "--val", 0.25, "--overwrite", source=fewer)
    again = loaded(tmp_path, str(exported(done, tmp_path / "out")))
    assert [[r["key"] for r in of["validation"] if r["label"]] for of in (first, again)] == [
        [r["key"] for r in first["validation"] if r["label"]]
    ] * 2


def test_file_names_are_plain_and_differ_in_more_than_case() -> None:
    names = safe_names((*IDS, "ICE-CREAM", "..", "a/../b", "CON"))
    assert len({name.lower() for name in names}) == len(names)
    assert all(name.replace("-", "").replace("_", "").isalnum() and name.isascii() for name in names)
    assert (names[0], names[1], names[3]) == (IDS[0], IDS[1], IDS[3])


@pytest.mark.parametrize(("count", "size", "files"), [(10, 100, 1), (10, 101, 2), (10, 1000, 10), (3, 10_000, 3)])
def test_files_hold_even_numbers_and_all_images(count: int, size: int, files: int) -> None:
    found = ranges(count, size, 100)
    assert [i for of in found for i in of] == list(range(count))
    assert len(found) == files
    assert max(map(len, found)) - min(map(len, found)) <= 1
