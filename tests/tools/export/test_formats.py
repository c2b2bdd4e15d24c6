"""Each format read back by the programs that it is for: the same pixels, labels and metadata, each image once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made import IDS, contents, write_dataset
from torchvision.datasets import ImageFolder
from webdataset import WebDataset

from genrobust.data import ShardDataset
from genrobust.tools.export.formats import parquet
from genrobust.tools.export.formats.imagefolder import folder_names
from genrobust.tools.export.origin_mark import GENERATED, mark_as_generated

datasets = pytest.importorskip("datasets")
FORMATS = ("imagefolder", "parquet")
KNOWN = ("prompt", "template", "style", "seed", "generator", "mode", "steps", "guidance_scale", "redraws")


@pytest.fixture(autouse=True)
def small_files(monkeypatch, tmp_path):
    monkeypatch.setattr(parquet, "PARQUET_BYTES", 10_000)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def by_key(samples):
    return {s.key: s for s in samples}


def same_pixels(image, sample):
    return np.array_equal(np.asarray(image.convert("RGB")), sample.image)


def loaded(folder):
    return list(datasets.load_dataset(str(folder), split="train"))


@pytest.mark.parametrize("to", FORMATS)
def test_every_image_is_read_once_with_its_columns_and_bytes_repeat(export, by_key, tmp_path, to):
    rows = loaded(export("--to", to))
    assert sorted(row["key"] for row in rows) == sorted(by_key)
    for row in rows:
        wanted = by_key[row["key"]]
        assert (row["label"], row["class_id"]) == (wanted.label, IDS[wanted.label])
        assert same_pixels(row["image"], wanted)
        assert {k: row[k] for k in KNOWN} == {k: wanted.meta[k] for k in KNOWN}
    before = contents((tmp_path / "out").rename(tmp_path / "before"))
    assert contents(export("--to", to)) == before


@pytest.mark.parametrize("to", FORMATS)
def test_images_are_marked_as_generated_and_croissant_reads_them(export, by_key, to):
    croissant = pytest.importorskip("mlcroissant")
    folder = export("--to", to)
    assert all(GENERATED in row["image"].info["XML:com.adobe.xmp"] for row in loaded(folder))
    described = croissant.Dataset(jsonld=folder / "croissant.json")
    assert not described.metadata.issues.errors
    rows = {row["images/key"].decode(): row for row in described.records("images")}
    assert {key: row["images/label"] for key, row in rows.items()} == {s.key: s.label for s in by_key.values()}
    images = {key: row.get("images/image") for key, row in rows.items()}
    if to == "imagefolder":
        files = [*described.records("files-of-images")]
        images = {Path(row["files-of-images/path"].decode()).stem: row["files-of-images/content"] for row in files}
    assert all(same_pixels(image, by_key[key]) for key, image in images.items()) and images.keys() == by_key.keys()


def test_imagefolder_is_read_by_torchvision(export, by_key):
    folder, classes = export("--to", "imagefolder"), folder_names(IDS)
    images = ImageFolder(str(folder / "train"))
    assert images.classes == sorted(classes) and len(images) == len(by_key)
    for (image, target), (path, _) in zip(images, images.samples, strict=True):
        wanted = by_key[Path(path).stem]
        assert images.classes[target] == classes[wanted.label] and same_pixels(image, wanted)


def test_torchvision_refuses_a_class_without_images_rather_than_number_the_others_otherwise(export, samples, tmp_path):
    source = write_dataset(tmp_path / "fewer", [s for s in samples if s.label != 3])
    with pytest.raises(FileNotFoundError, match=folder_names(IDS)[3]):
        ImageFolder(str(export("--to", "imagefolder", source=source) / "train"))


def test_parquet_files_hold_their_types_and_the_bytes_of_the_shards(export, dataset):
    folder = export("--to", "parquet")
    assert len(list((folder / "data").glob("train-*.parquet"))) > 1
    rows = datasets.load_dataset(str(folder))["train"]
    assert rows.features["label"] == datasets.ClassLabel(names=list(IDS))
    assert rows.features["image"] == datasets.Image()
    images = {row["key"]: row["image"]["bytes"] for row in rows.cast_column("image", datasets.Image(decode=False))}
    shards = WebDataset([str(p) for p in sorted(dataset.glob("*.tar"))], shardshuffle=False)
    assert images == {s["__key__"]: mark_as_generated(s["png"]) for s in shards}


@pytest.mark.parametrize("to", FORMATS)
def test_a_validation_part_is_the_validation_split(export, samples, tmp_path, to):
    val = [replace(s, key=f"{IDS[s.label]}-val-{n:06d}") for n, s in enumerate(samples) if IDS[s.label].isalnum()]
    folder = export("--to", to, source=write_dataset(tmp_path / "val", val))
    assert [*datasets.load_dataset(str(folder))] == ["validation"]
    assert not [*folder.glob("train"), *folder.glob("data/train-*")]


@pytest.mark.parametrize("to", FORMATS)
def test_classes_keep_the_names_that_the_dataset_stores(export, dataset, tmp_path, samples, to):
    """Whatever their ids are; which names are stored changes no fingerprint, so that filters and studies stay."""
    names = {"C#": "see sharp", "C++": "C++", "café": "café", "हिन्दी": "Hindi", "狗": "dog"}
    named = write_dataset(tmp_path / "named", samples, class_names=names)
    assert ShardDataset(named).fingerprint == ShardDataset(dataset).fingerprint
    folder = export("--to", to, source=named)
    stored = {(label, *both) for label, both in enumerate(names.items())}
    assert {(row["label"], row["class_id"], row["class_name"]) for row in loaded(folder)} == stored
    if to == "parquet":
        assert datasets.load_dataset(str(folder))["train"].features["label"].names == list(names)
    if to == "imagefolder":
        assert ImageFolder(str(folder / "train")).classes == sorted(names)


def test_names_of_folders_are_those_of_the_classes_where_every_file_system_takes_them():
    kept = ("C", "C++", "C#", "Café", "हिन्दी", "Desk Lamp", "001.Albatross", "train", "狗")
    others = ("ice-cream", "ICE-CREAM", "caf\u00e9 au lait", "cafe\u0301 au lait", "..", "a/../b", "-x", "x.", "{0..9}")
    names = folder_names((*kept, *others))
    assert tuple(names[: len(kept)]) == kept
    assert len({name.lower() for name in names}) == len(names)
    assert all(name.replace("-", "").replace(".", "").isalnum() and name.isascii() for name in names[len(kept) :])
