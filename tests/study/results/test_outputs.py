"""`verify` finds what is damaged of ours, and neither checks nor names a file of the user's."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_study import contents, delete_named, genrobust

from genrobust.core import Sample, UserError
from genrobust.data import (
    begin_dataset,
    finish_dataset,
    missing_shards,
    write_shard,
)
from genrobust.store import Artifact, Manifest, artifact_folder, write_files
from genrobust.study import verify_outputs

SHARDS = 3


def write(folder: Path, *names: str, content: bytes = b"mine") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def make_shard(folder: Path, shard: int) -> None:
    pixels = np.random.default_rng(shard).integers(0, 256, (4, 48, 64, 3), dtype=np.uint8)
    samples = [Sample(f"cat-{shard}{i}", 0, pixels[i], {"style": "solid", "seed": i}) for i in range(4)]
    write_shard(folder, shard, samples, [{"key": f"cat-{shard}9", "label": 0, "reason": "black"}])


def make_dataset(folder: Path) -> Path:
    """Three shards, each of four images and a request that was given up."""
    begin_dataset(folder, {"shards": SHARDS, "class_ids": ["cat", "dog"]})
    for shard in range(SHARDS):
        make_shard(folder, shard)
    finish_dataset(folder)
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "data set")


def make_checkpoint(out: Path) -> Path:
    folder = artifact_folder(out / "checkpoints", "real", {"seed": 0})
    write(folder, "model.safetensors", "info.json")
    Artifact(folder).publish(Manifest("checkpoint", {"seed": 0}))
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with files of the user's that are called as ours are."""
    home = tmp_path / "home"
    write(home, "web/manifest.json", "results.json", "best/unfinished.json", "generated/0123456789ab/000000.tar")
    write(home, "generated/0123456789ab/manifest.json", content=b'{"shards": 1}')
    write(home, "data/000000.json", content=b'{"label": 1}')
    pq.write_table(pa.table({"key": ["a"]}), home / "data" / "000000.parquet")
    with tarfile.open(home / "data" / "000000.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"), io.BytesIO())
    return home


def test_a_folder_without_ours_is_refused(home: Path) -> None:
    for place in (home, *(path for path in home.iterdir() if path.is_dir()), home / "nowhere"):
        genrobust("verify", place, code=2, said=str(place))


def test_a_manifest_of_another_program_is_refused_by_all_that_reads_or_makes_datasets(home: Path) -> None:
    folder, before = home / "generated" / "0123456789ab", contents(home)
    for command in (
        ["export", folder, "--to", "parquet"],
        ["audit", folder],
    ):
        genrobust(*command, code=2, said=folder.name)
    with pytest.raises(UserError, match=folder.name):
        begin_dataset(folder, {"shards": 1})
    assert contents(home) == before


def test_files_of_the_user_s_beside_ours_are_not_named(home: Path) -> None:
    checkpoint = make_checkpoint(home)
    write(checkpoint, "thesis.txt")
    assert "all 1 artifacts" in genrobust("verify", home).stdout
    write(checkpoint, "model.safetensors", content=b"other")
    assert list(verify_outputs(home).damaged) == [checkpoint / "model.safetensors"]


@pytest.mark.parametrize("name", ["000001.tar", "000001.parquet", "000001.json"])
def test_what_is_missing_or_cut_is_found_before_the_dataset_is_finished_too(dataset: Path, name: str) -> None:
    for reopened in (False, True):
        if reopened:
            Artifact(dataset).reopen()
        whole = (dataset / name).read_bytes()
        (dataset / name).write_bytes(whole[:9])
        assert list(verify_outputs(dataset).damaged) == [dataset / name]
        (dataset / name).unlink()
        is_part = reopened and name.endswith(".json")  # without it, the shard is not made yet
        assert list(verify_outputs(dataset).damaged) == ([] if is_part else [dataset / name])
        (dataset / name).write_bytes(whole)


@pytest.mark.parametrize("is_finished", [True, False])
def test_the_named_shards_alone_are_made_again(dataset: Path, tmp_path: Path, is_finished: bool) -> None:
    whole = contents(dataset)
    if not is_finished:
        Artifact(dataset).reopen()
    flip(dataset / "000001.tar", 77777)
    flip(dataset / "000002.json", 777)
    (out := tmp_path / "runs").mkdir()
    (out / "generated").symlink_to(dataset)
    genrobust("verify", out, code=1, said="damaged")
    delete_named(verify_outputs(out))
    assert missing_shards(dataset, SHARDS) == [1, 2]
    finish_dataset(dataset)
    assert Artifact(dataset).is_begun and not Artifact(dataset).is_finished
    for shard in (1, 2):
        make_shard(dataset, shard)
    finish_dataset(dataset)
    assert contents(dataset) == whole


@pytest.mark.parametrize("damage", [lambda manifest: flip(manifest, 9), Path.unlink])
@pytest.mark.parametrize("make", [make_checkpoint, lambda out: make_dataset(out / "generated" / "single-4-0123456789")])
def test_a_damaged_or_missing_manifest_is_named_with_the_folder(tmp_path: Path, make, damage) -> None:
    folder = make(tmp_path)
    damage(folder / "manifest.json")
    assert list(verify_outputs(tmp_path).damaged) == [folder / "manifest.json"]
    delete_named(verify_outputs(tmp_path))
    assert not folder.exists()


def test_edited_files_of_a_report_are_named_and_stay(tmp_path: Path) -> None:
    write_files({"report.html": "a page", "report.md": "a page"}, tmp_path)
    write(tmp_path, "report.html", content=b"edited")
    (tmp_path / "report.md").unlink()
    found = verify_outputs(tmp_path)
    assert (found.changed, found.damaged) == ((tmp_path / "report.html",), {})
    genrobust("verify", tmp_path, code=1, said="as genrobust wrote them")
