"""`verify` finds what is damaged of ours, and neither checks, moves nor names a file of the user's."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_study import contents, genrobust

from genrobust.core import Sample, UserError
from genrobust.data import (
    begin_dataset,
    finish_dataset,
    missing_shards,
    write_shard,
)
from genrobust.store import Artifact, Manifest, artifact_folder, lock, write_files
from genrobust.study import verify_outputs
from genrobust.study.results.outputs import ASIDE

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


@pytest.mark.parametrize("repair", [[], ["--repair"]])
def test_a_folder_without_ours_is_refused_and_stays(home: Path, repair: list[str]) -> None:
    before = contents(home)
    for place in (home, *(path for path in home.iterdir() if path.is_dir()), home / "nowhere"):
        genrobust("verify", place, *repair, code=2, said=str(place))
    assert contents(home) == before


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
    before = contents(home)
    for repair in ([], ["--repair"]):
        assert "all 1 artifacts" in genrobust("verify", home, *repair).stdout
    assert contents(home) == before
    write(checkpoint, "model.safetensors", content=b"other")
    assert "model.safetensors" in genrobust("verify", home, code=1).stdout
    genrobust("verify", home, "--repair")
    ours = {f"checkpoints/{checkpoint.name}/{name}" for name in ("model.safetensors", "info.json", "manifest.json")}
    moved = {f"{ASIDE}/1/{name}" if name in ours else name: content for name, content in before.items()}
    assert contents(home) == moved | {f"{ASIDE}/1/checkpoints/{checkpoint.name}/model.safetensors": b"other"}


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


def test_repair_sets_aside_the_damaged_shards_and_loses_nothing(dataset: Path) -> None:
    whole = contents(dataset)
    flip(dataset / "000001.tar", 77777)
    (dataset / "000002.parquet").unlink()
    damaged = contents(dataset)
    genrobust("verify", dataset, code=1, said="--repair")
    assert contents(dataset) == damaged
    assert str(dataset / ASIDE / "1") in genrobust("verify", dataset, "--repair").stdout
    assert missing_shards(dataset, SHARDS) == [1, 2] and Artifact(dataset).is_begun
    aside = {name for name in damaged if name.startswith(("000001", "000002"))}
    assert contents(dataset / ASIDE / "1") == {name: damaged[name] for name in aside}
    genrobust("verify", dataset, code=1, said="not finished")
    for shard in (1, 2):
        make_shard(dataset, shard)
    finish_dataset(dataset)
    shutil.rmtree(dataset / ASIDE)
    assert contents(dataset) == whole
    genrobust("verify", dataset)


@pytest.mark.parametrize("make", [make_checkpoint, lambda out: make_dataset(out / "generated" / "single-4-0123456789")])
def test_a_damaged_manifest_sets_all_aside_that_is_named_by_a_hash(tmp_path: Path, make) -> None:
    folder = make(tmp_path)
    before = contents(tmp_path)
    flip(folder / "manifest.json", 9)
    genrobust("verify", tmp_path, "--repair")
    assert {name.removeprefix(f"{ASIDE}/1/") for name in contents(tmp_path)} == set(before)
    assert contents(folder) == {}


def test_what_lies_behind_a_link_is_verified_and_repaired(dataset: Path, tmp_path: Path) -> None:
    (out := tmp_path / "runs").mkdir()
    (out / "generated").symlink_to(dataset)
    flip(dataset / "000001.tar", 77777)
    genrobust("verify", out, code=1)
    genrobust("verify", out, "--repair")
    assert missing_shards(dataset, SHARDS) == [1] and (out / ASIDE / "1" / "generated" / "000001.tar").is_file()


def test_repair_is_refused_while_another_process_writes(dataset: Path) -> None:
    flip(dataset / "000001.tar", 77777)
    with lock(dataset), pytest.raises(UserError, match="another process"):
        assert verify_outputs(dataset).damaged
        verify_outputs(dataset, repair=True)
    assert missing_shards(dataset, SHARDS) == []


def test_an_artifact_that_lost_its_manifest_is_named_and_set_aside(dataset: Path) -> None:
    folder = make_checkpoint(dataset.parent)
    (folder / "manifest.json").unlink()
    assert list(verify_outputs(dataset.parent).damaged) == [folder / "manifest.json"]
    verify_outputs(dataset.parent, repair=True)
    assert not verify_outputs(dataset.parent).damaged and not list(folder.glob("[!.]*"))


def test_edited_files_of_a_report_are_named_and_stay(tmp_path: Path) -> None:
    write_files({"report.html": "a page", "report.md": "a page"}, tmp_path)
    write(tmp_path, "report.html", content=b"edited")
    (tmp_path / "report.md").unlink()
    found = verify_outputs(tmp_path, repair=True)
    assert (found.changed, found.damaged, found.aside) == ((tmp_path / "report.html",), {}, None)
    genrobust("verify", tmp_path, code=1, said="as genrobust wrote them")
    assert (tmp_path / "report.html").read_bytes() == b"edited"
