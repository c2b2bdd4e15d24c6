"""Any change of any file of a shard is found, told in words, and mended by making that shard alone again."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from genrobust.cli import app
from genrobust.core import Sample, UserError, lock
from genrobust.data.shard_files import write_shard
from genrobust.data.shards import create_dataset, missing_shards
from genrobust.data.verifying import ASIDE, describe_verdict, verify

SHARDS = 3
KINDS = ("tar", "sha256", "parquet")


def samples(shard: int) -> list[Sample]:
    rng = np.random.default_rng(shard)
    pixels = rng.integers(0, 256, (4, 48, 64, 3), dtype=np.uint8)
    return [Sample(f"cat-{shard}{i}", 0, pixels[i], {"style": "solid", "seed": i}) for i in range(4)]


def make(folder: Path, shard: int) -> None:
    write_shard(folder, shard, samples(shard), [{"key": f"cat-{shard}9", "label": 0, "reason": "black"}])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three shards, each of four images and a request that was given up."""
    folder = tmp_path / "data set"
    create_dataset(folder, {"shards": SHARDS, "class_ids": ["cat", "dog"]})
    for shard in range(SHARDS):
        make(folder, shard)
    return folder


@pytest.fixture
def command(folder: Path) -> Callable[..., Result]:
    return lambda *words: CliRunner().invoke(app, ["verify", str(folder), *words])


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and p.name != ".lock"}


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def test_a_whole_dataset_is_said_to_be(folder: Path, command: Callable[..., Result]) -> None:
    assert verify(folder).is_whole
    done = command()
    assert (done.exit_code, done.stdout) == (0, f"{folder}: all 3 shards are as they were written\n")


@pytest.mark.parametrize("kind", KINDS)
def test_any_flipped_bit_is_found(folder: Path, kind: str) -> None:
    path = folder / f"000001.{kind}"
    whole = path.read_bytes()
    rng = random.Random(kind)
    bits = [0, 8 * len(whole) - 1, *(rng.randrange(8 * len(whole)) for _ in range(20))]
    for bit in bits:
        flip(path, bit)
        found = verify(folder)
        assert [damage.shard for damage in found.damaged] == [1], f"bit {bit}"
        assert f"000001.{kind}" in str(found.damaged[0]), f"bit {bit}"
        path.write_bytes(whole)
    assert verify(folder).is_whole


def test_a_changed_image_is_named(folder: Path) -> None:
    row = pq.read_table(folder / "000002.parquet").to_pylist()[2]
    flip(folder / "000002.tar", 8 * (row["offset"] + row["size"] // 2))
    (damage,) = verify(folder).damaged
    assert str(damage) == "shard 2: 000002.tar has changed since it was written. The images cat-22."


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("000001.tar", None, "shard 1: 000001.tar is missing."),
        ("000001.sha256", None, "shard 1: 000001.sha256 is missing."),
        ("000001.tar", b"short", "000001.tar has 5 bytes instead of "),
        ("000001.tar", b"", "000001.tar has 0 bytes instead of "),
        ("000001.parquet", b"", "000001.parquet has changed since it was written"),
        ("000001.sha256", b"\xff", "000001.parquet has changed since it was written, or 000001.sha256, which"),
    ],
)
def test_what_is_missing_or_cut_is_told(folder: Path, name: str, content: bytes | None, said: str) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    found = verify(folder)
    assert len(found.damaged) == 1
    assert said in str(found.damaged[0])


def test_a_parquet_that_was_never_readable_is_told(folder: Path) -> None:
    """Its hash is that of what was written, and yet it is no parquet."""
    (folder / "000001.parquet").write_bytes(b"PAR1")
    listed = (folder / "000001.sha256").read_text().splitlines()
    listed[1] = f"{hashlib.sha256(b'PAR1').hexdigest()}  000001.parquet"
    (folder / "000001.sha256").write_text("\n".join(listed) + "\n")
    assert "shard 1: 000001.parquet cannot be read: " in str(verify(folder).damaged[0])


def test_unfinished_shards_and_temporary_files_are_no_damage(folder: Path, command: Callable[..., Result]) -> None:
    (folder / "000001.parquet").unlink()
    (folder / ".000001.parquet.0a1b2c3d.part").write_bytes(b"half")
    found = verify(folder)
    assert (found.damaged, found.unfinished, len(found.temporary)) == ((), (1,), 1)
    done = command()
    assert done.exit_code == 1
    assert "not made yet, or not to the end: 1 of 3 shards (1)" in done.stdout
    assert "1 temporary files (.000001.parquet.0a1b2c3d.part ...)" in done.stdout
    assert "is not complete: generate again" in done.stderr


def test_without_the_manifest_the_shards_are_still_checked(folder: Path, command: Callable[..., Result]) -> None:
    (folder / "manifest.json").unlink()
    done = command()
    assert (done.exit_code, verify(folder).damaged) == (1, ())
    assert "until its manifest is put back" in done.stderr
    flip(folder / "000000.tar", 9999)
    found = verify(folder)
    assert [damage.shard for damage in found.damaged] == [0]
    assert "there is no manifest.json. It says what the dataset is" in next(describe_verdict(found))


def test_a_folder_without_a_dataset_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match="holds no generated dataset"):
            verify(place, repair=True)
    assert list(tmp_path.iterdir()) == []


def test_repair_sets_aside_what_is_damaged_and_loses_nothing(folder: Path, command: Callable[..., Result]) -> None:
    whole = contents(folder)
    flip(folder / "000001.tar", 77777)
    (folder / "000002.sha256").unlink()
    (folder / ".000000.tar.0a1b2c3d.part").write_bytes(b"half")
    damaged = contents(folder)
    assert command().exit_code == 1
    assert contents(folder) == damaged, "without --repair nothing is touched"
    done = command("--repair")
    assert done.exit_code == 0
    assert str(folder / ASIDE / "1") in done.stdout
    assert "genrobust generate RECIPE" in done.stdout
    assert missing_shards(folder, SHARDS) == [1, 2]
    assert contents(folder) == {n: b for n, b in whole.items() if n.startswith("000000") or n == "manifest.json"}
    aside = {f"00000{n}.{kind}" for n in (1, 2) for kind in KINDS} - {"000002.sha256"}
    assert contents(folder / ASIDE / "1") == {name: damaged[name] for name in aside}
    for shard in (1, 2):
        make(folder, shard)
    assert contents(folder) == whole
    assert verify(folder).is_whole

    flip(folder / "000001.tar", 77777)  # damaged once more: what was set aside before stays
    verify(folder, repair=True)
    assert sorted(p.name for p in (folder / ASIDE).iterdir()) == ["1", "2"]


def test_repair_is_refused_while_another_process_writes(folder: Path) -> None:
    flip(folder / "000001.tar", 77777)
    with lock(folder, shared=True):
        assert len(verify(folder).damaged) == 1
        with pytest.raises(UserError, match="another process is writing"):
            verify(folder, repair=True)
    assert missing_shards(folder, SHARDS) == []


def test_a_dataset_that_cannot_be_written_is_checked_all_the_same(folder: Path) -> None:
    (folder / ".lock").unlink(missing_ok=True)
    folder.chmod(0o555)
    try:
        assert verify(folder).is_whole
        if not os.access(folder, os.W_OK):  # root writes everywhere
            assert not (folder / ".lock").exists()
    finally:
        folder.chmod(0o755)


def test_the_hashes_are_what_sha256sum_reads(folder: Path) -> None:
    tool = shutil.which("sha256sum")
    if tool is None:
        pytest.skip("there is no sha256sum here")
    done = subprocess.run([tool, "-c", "000001.sha256"], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == "000001.tar: OK\n000001.parquet: OK\n"
