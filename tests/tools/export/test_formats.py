"""Each format read back by the programs that it is for: the same pixels, labels and metadata, each image once."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from made import IDS, PER_CLASS, contents, read_json, write_dataset
from PIL import Image
from timm.data import create_dataset
from torchvision.datasets import ImageFolder
from webdataset import WebDataset

from genrobust.core.images import Sample
from genrobust.core.keys import digest
from genrobust.data import ShardDataset
from genrobust.tools.export.content import Part, divided, safe_names
from genrobust.tools.export.formats import parquet, webdataset

datasets = pytest.importorskip("datasets")
Export = Callable[..., Path]
Rows = dict[str, list[dict[str, Any]]]
VAL = 2  # images a class that validate: --val 0.25 of eight
PARTS = {"train": PER_CLASS - VAL, "validation": VAL}
KNOWN = ("prompt", "template", "style", "seed", "generator", "mode", "steps", "guidance_scale", "redraws")


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(parquet, "PARQUET_BYTES", 10_000)
    monkeypatch.setattr(webdataset, "TAR_BYTES", 10_000)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="session")
def by_key(samples: list[Sample]) -> dict[str, Sample]:
    return {s.key: s for s in samples}


def pixels(image: Image.Image) -> str:
    return digest(np.asarray(image.convert("RGB")).tolist())


def loaded(folder: Path) -> Rows:
    found = datasets.load_dataset(str(folder))
    return {name: list(found[name]) for name in found}


def tars_by_datasets(folder: Path) -> Rows:
    rows = loaded(folder)
    names = {"__key__": "key", "cls": "label", "png": "image"}
    return {n: [{**r["json"], **{to: r[of] for of, to in names.items()}} for r in rows[n]] for n in rows}


def tars_by_webdataset(folder: Path) -> Rows:
    """Each file alone, as many images as timm's _info.json says."""
    rows: Rows = {}
    for part, split in read_json(folder / "_info.json")["splits"].items():
        files = [str(folder / name) for name in split["filenames"]]
        assert files == sorted(map(str, (folder / "data").glob(f"{part}-*.tar")))
        read = [list(WebDataset(file, shardshuffle=False)) for file in files]
        assert (split["shard_lengths"], split["num_samples"]) == ([*map(len, read)], sum(map(len, read)))
        images = [s for of_file in read for s in of_file]
        rows[part] = [
            {**json.loads(s["json"]), "image": Image.open(io.BytesIO(s["png"])), "label": int(s["cls"])} for s in images
        ]
    return rows


READERS: dict[str, tuple[str, Callable[[Path], Rows]]] = {
    "parquet": ("parquet", loaded),
    "imagefolder": ("imagefolder", loaded),
    "webdataset": ("webdataset", tars_by_webdataset),
    "webdataset by datasets": ("webdataset", tars_by_datasets),
}


@pytest.mark.parametrize("reader", READERS)
def test_every_image_is_read_once_with_its_columns(export: Export, by_key: dict[str, Sample], reader: str) -> None:
    to, read = READERS[reader]
    rows = read(export("--to", to, "--val", 0.25))
    assert sorted(row["key"] for of_part in rows.values() for row in of_part) == sorted(by_key)
    for name, of_part in rows.items():
        assert Counter(row["label"] for row in of_part) == dict.fromkeys(range(len(IDS)), PARTS[name])
        for row in of_part:
            wanted = by_key[row["key"]]
            assert (row["label"], row["class_id"]) == (wanted.label, IDS[wanted.label])
            assert pixels(row["image"]) == digest(wanted.image.tolist())
            assert {k: row[k] for k in KNOWN} == {k: wanted.meta[k] for k in KNOWN}


def test_imagefolder_is_read_by_torchvision(export: Export, by_key: dict[str, Sample]) -> None:
    folder, classes = export("--to", "imagefolder", "--val", 0.25), safe_names(IDS)
    for part, each in PARTS.items():
        found = ImageFolder(str(folder / part))
        assert found.classes == sorted(classes)
        assert len(found) == each * len(IDS)
        for (image, target), (path, _) in zip(found, found.samples, strict=True):
            wanted = by_key[Path(path).stem]
            assert (found.classes[target], pixels(image)) == (classes[wanted.label], digest(wanted.image.tolist()))


def test_tars_are_read_by_timm(export: Export, by_key: dict[str, Sample]) -> None:
    folder = export("--to", "webdataset", "--val", 0.25)
    assert len(read_json(folder / "_info.json")["splits"]["train"]["filenames"]) > 1
    for part, each in PARTS.items():
        found = create_dataset("wds/", root=str(folder), split=part, batch_size=1)
        pairs = Counter((pixels(image), target) for image, target in found)
        assert pairs.total() == len(found) == each * len(IDS)
        assert pairs <= Counter((digest(s.image.tolist()), s.label) for s in by_key.values())


def test_parquet_files_hold_the_types_of_the_card_and_the_bytes_of_the_shards(export: Export, dataset: Path) -> None:
    folder = export("--to", "parquet")
    assert len(list((folder / "data").glob("train-*.parquet"))) > 1
    rows = datasets.load_dataset(str(folder))["train"]
    assert rows.features["label"] == datasets.ClassLabel(names=list(IDS))
    assert rows.features["image"] == datasets.Image()
    found = {row["key"]: row["image"]["bytes"] for row in rows.cast_column("image", datasets.Image(decode=False))}
    shards = WebDataset([str(p) for p in sorted(dataset.glob("*.tar"))], shardshuffle=False)
    assert found == {s["__key__"]: s["png"] for s in shards}
    (folder / "README.md").unlink()
    assert datasets.load_dataset(str(folder), download_mode="force_redownload")["train"].features == rows.features


@pytest.mark.parametrize("to", ["imagefolder", "webdataset", "parquet"])
def test_classes_keep_the_names_that_the_dataset_stores(
    export: Export, dataset: Path, tmp_path: Path, samples: list[Sample], to: str
) -> None:
    """Whatever their ids are; which names are stored changes no fingerprint, so that filters and studies stay."""
    names = {"C#": "see sharp", "C++": "C++", "café": "café", "हिन्दी": "Hindi", "狗": "dog"}
    named = write_dataset(tmp_path / "named", samples, class_names=names)
    assert ShardDataset(named).fingerprint == ShardDataset(dataset).fingerprint
    folder = export("--to", to, source=named)
    read = tars_by_webdataset if to == "webdataset" else loaded
    wanted = list(names.items())
    assert {(row["label"], row["class_id"], row["class_name"]) for row in read(folder)["train"]} == {
        (label, *both) for label, both in enumerate(wanted)
    }
    if to == "parquet":
        assert datasets.load_dataset(str(folder))["train"].features["label"].names == list(names)
    if to == "imagefolder":
        assert ImageFolder(str(folder / "train")).classes == sorted(names)
    card = (folder / "README.md").read_text(encoding="utf-8").replace("\\", "")
    assert all(name in card for pair in wanted for name in pair)


@pytest.mark.parametrize("to", ["imagefolder", "webdataset", "parquet"])
def test_bytes_repeat(export: Export, to: str) -> None:
    before = contents(export("--to", to, "--val", 0.25))
    assert contents(export("--to", to, "--val", 0.25, "--overwrite")) == before


def test_images_from_one_real_image_stay_together_and_classes_are_divided_alone(
    export: Export, tmp_path: Path, samples: list[Sample]
) -> None:
    meta = [{**s.meta, "source": f"{IDS[s.label]}/{int(s.key[-6:]) // 2}"} for s in samples]
    paired = [Sample(s.key, s.label, s.image, m) for s, m in zip(samples, meta, strict=True)]
    fewer = [s for s in paired if s.label or int(s.key[-6:]) < 4]
    validation = []
    for name, images in (("paired", paired), ("fewer", fewer)):
        rows = loaded(
            export("--to", "parquet", "--val", 0.25, "--overwrite", source=write_dataset(tmp_path / name, images))
        )
        sources = {part: {row["source"] for row in rows[part]} for part in PARTS}
        assert not sources["train"] & sources["validation"] and len(sources["validation"]) == len(IDS)
        validation.append({source for source in sources["validation"] if not source.startswith(IDS[0])})
    assert validation[0] == validation[1]


def test_names_of_folders_are_those_of_the_classes_where_every_file_system_takes_them(
    dataset: Path, tmp_path: Path
) -> None:
    kept = ("C", "C++", "C#", "café", "cafe\u0301", "हिन्दी", "Desk Lamp", "001.Albatross")
    names = safe_names((*kept, *IDS, "ICE-CREAM", "c", "..", "a/../b", "CON", "-x", "x.", "long" * 64))
    assert names[: len(kept)] == kept
    assert len({name.lower() for name in names}) == len(names)
    assert all(name.replace("-", "").replace("_", "").isalnum() and name.isascii() for name in names[len(kept) :])
    assert "con" not in names, "which Windows has in place of a folder"
    assert (names[8], names[9], names[11]) == (IDS[0], IDS[1], IDS[3])
    for size, files in ((100, 1), (101, 2), (1000, 10), (10_000, 10)):
        part = Part("train", ShardDataset(dataset), np.arange(10), pa.table({}), size)
        found = divided(part, 100, tmp_path, "tar")
        assert [path.name for path, _ in found] == [f"train-{n:05d}-of-{files:05d}.tar" for n in range(files)]
        counts = [n for _, n in found]
        assert (sum(counts), max(counts) - min(counts) <= 1) == (10, True)
