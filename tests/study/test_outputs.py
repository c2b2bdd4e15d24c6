"""`verify` finds what is damaged of ours, and neither checks, moves nor names a file of the user's."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_study import genrobust

from genrobust.core import FILE_LIST, hash_file, save_arrays, sealed, write_files
from genrobust.data import create_dataset
from genrobust.study import describe_verified, verify_outputs

HASH = "0123456789ab"


def write(folder: Path, *names: str, content: bytes = b"mine") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with files of the user's that are called as ours are."""
    home = tmp_path / "home"
    write(home, "results.json", "paper/audit.json", "rates.json", "web/manifest.json", "data/000001.parquet")
    write(home, "best/checkpoint.json", "best/weights.pt", "best/thesis.txt", "checkpoints/best/checkpoint.json")
    write(home, "lora/finetune.json", "lora/weights.pt", "log/logged.jsonl", "track/own/logged.jsonl")
    write(home, "predictions/own/test.npz", "packed/own/000000.npz", "filters/own.parquet", "searches/own.parquet")
    write(home, "model/state.safetensors", ".parts/own/a.npz", "copy/results.json", content=sealed({"a": 1})[:-30])
    (home / "embeddings").mkdir()
    np.savez(home / "embeddings" / "own.npz", embeddings=np.zeros((2, 3)))
    pq.write_table(pa.table({"key": ["a"]}), home / "data" / "000000.parquet")
    with tarfile.open(home / "data" / "000000.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"), io.BytesIO())
    return home


def test_a_folder_without_ours_is_refused_and_stays(home: Path) -> None:
    before = contents(home)
    for place in (home, *(path for path in home.iterdir() if path.is_dir())):
        for repair in ([], ["--repair"]):
            genrobust("verify", place, *repair, code=2, said=str(place))
    assert contents(home) == before


def test_files_of_the_user_s_beside_ours_are_not_named(home: Path) -> None:
    save_arrays(home / "embeddings" / f"{HASH}.npz", {"embeddings": np.zeros((2, 3), np.float32)})
    (home / ".lock").touch()  # as a study leaves it in its folder
    before = contents(home)
    for repair in ([], ["--repair"]):
        assert "all 1 files" in genrobust("verify", home, *repair).stdout
    assert contents(home) == before
    write(home, f"embeddings/{HASH}.npz")
    assert f"{HASH}.npz" in genrobust("verify", home, code=1).stdout
    genrobust("verify", home / "embeddings", "--repair")
    del before[f"embeddings/{HASH}.npz"]
    assert contents(home) == {**before, f"embeddings/.damaged/1/{HASH}.npz": b"mine"}


def checkpoint(folder: Path) -> list[str]:
    names = [f"checkpoints/{HASH}/{name}" for name in ("checkpoint.json", "model.safetensors")]
    write(folder, *names)
    return names


def generator(folder: Path) -> list[str]:
    below = f"finetuned/{HASH}"
    write(folder, f"{below}/unet/config.json", f"{below}/unet/weights.safetensors")
    hashes = {"unet/config.json": hash_file(folder / below / "unet/config.json"), "unet/weights.safetensors": "0" * 64}
    write(folder, f"{below}/finetune.json", content=sealed({"files_sha256": hashes}))
    return [f"{below}/{name}" for name in ("finetune.json", *hashes)]


def tracker(folder: Path) -> list[str]:
    below = "small/track/tensorboard"
    write(folder, f"{below}/logged.jsonl", f"{below}/real-012345/events.out.tfevents.1")
    return [f"{below}/logged.jsonl", f"{below}/real-012345/events.out.tfevents.1"]


def report(folder: Path) -> list[str]:
    files = write_files({"report.html": "a", "results.json": sealed({"a": 1})}, folder / "small", "a study")
    listed = folder / "small" / FILE_LIST
    at = listed.read_bytes().index(hash_file(files["report.html"]).encode())
    write(folder, f"small/{FILE_LIST}", content=listed.read_bytes()[: at + 5] + b"?" + listed.read_bytes()[at + 6 :])
    return [f"small/{name}" for name in (FILE_LIST, *files)]


def results(folder: Path) -> list[str]:
    write_files({"report.html": "a", "results.json": sealed({"a": 1})}, folder / "small", "a study")
    write(folder, "small/results.json", content=sealed({"a": 1}).replace(b"1", b"2", 1))
    return ["small/results.json"]


def rates(folder: Path) -> list[str]:
    write(folder, "rates.json", content=sealed({"a": 1}).replace(b"1", b"2", 1))
    (folder / ".lock").touch()
    return ["rates.json"]


@pytest.mark.parametrize("damaged", [checkpoint, generator, tracker, report, results, rates])
def test_repair_moves_what_is_made_again_together_alone(damaged: Callable[[Path], list[str]], tmp_path: Path) -> None:
    ours = damaged(tmp_path)
    for name in ours:
        write(tmp_path, str(Path(name).parent / "thesis.txt"), content=b"a thesis")
    before = contents(tmp_path)
    said = genrobust("verify", tmp_path, code=1).stdout
    assert any(name in said for name in ours) and "thesis" not in said
    assert contents(tmp_path) == before
    genrobust("verify", tmp_path, "--repair")
    assert contents(tmp_path) == {
        f".damaged/1/{name}" if name in ours else name: content for name, content in before.items()
    }


def test_a_dataset_is_known_by_its_manifest_or_its_folder(tmp_path: Path) -> None:
    for place in (tmp_path / "own", tmp_path / "generated" / HASH):
        create_dataset(place, {"shards": 0, "class_ids": []})
        assert "all 0 shards" in genrobust("verify", place).stdout
        write(place, "manifest.json")
    genrobust("verify", tmp_path / "own", code=2)
    assert "manifest.json" in genrobust("verify", tmp_path, code=1).stdout


def test_edited_files_of_a_report_are_named_and_stay(tmp_path):
    files = write_files({"report.html": "a", "results.json": sealed({"a": 1})}, tmp_path / "small", "a study")
    assert not verify_outputs(tmp_path).changed
    files["report.html"].write_text("mine")
    found = verify_outputs(tmp_path, repair=True)
    assert (found.changed, found.is_damaged, found.aside) == ((files["report.html"],), False, None)
    assert "are as they were written" not in " ".join(describe_verified(found))
    assert files["report.html"].read_text() == "mine"
