"""What an export refuses, what it leaves behind when it fails or is killed, and licences that forbid it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from made import IDS, exported, write_dataset
from typer.testing import Result

from genrobust.core.hashing import hash_folder
from genrobust.core.images import Sample
from genrobust.release.licenses import licences_of

Export = Callable[..., Result]


def refused(done: Result, said: str, code: int = 2) -> None:
    assert done.exit_code == code, done.output
    assert said in " ".join(done.stderr.split())


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "tfrecord"], "write imagefolder, webdataset or parquet"),
        (["--to", "parquet", "--val", "0"], "a fraction between 0 and 1"),
        (
            ["--to", "parquet", "--val", "0.05"],
            "leaves the class 'train', which has 8 images, without any in the valid",
        ),
        (["--to", "parquet", "--val", "0.99"], "without any in the train part"),
        (["--to", "parquet", "--val", "0.5", "--val-dataset", "x"], "either --val FRACTION or --val-dataset"),
        (["--to", "parquet", "--val-dataset", "nowhere"], "nowhere holds no generated dataset"),
        (["--to", "parquet", "--licence", "My own!"], "give an id such as"),
        (["--to", "parquet", "--filter", "best"], "no such filter beside the shards"),
        (["--to", "parquet", "--generator", "nowhere"], "its weights are not those that drew the images"),
    ],
)
def test_a_mistake_is_said_and_nothing_is_written(export: Export, tmp_path: Path, words: list[str], said: str) -> None:
    refused(export(*words), said)
    assert not [p for p in tmp_path.iterdir() if p.name != ".lock"]


def test_a_dataset_does_not_validate_itself(export: Export, dataset: Path) -> None:
    refused(export("--to", "parquet", "--val-dataset", dataset), "names the dataset itself")


def test_classes_must_be_the_same(export: Export, tmp_path: Path, samples: list[Sample]) -> None:
    other = write_dataset(tmp_path / "other", samples, class_ids=list(reversed(IDS)))
    refused(export("--to", "parquet", "--val-dataset", other), "which are not the 5 of")


def test_no_part_lacks_a_class(export: Export, tmp_path: Path, samples: list[Sample]) -> None:
    fewer = write_dataset(tmp_path / "fewer", [s for s in samples if s.label != 3])
    refused(export("--to", "parquet", source=fewer), "has no image of 1 class (ice-cream)")
    refused(export("--to", "parquet", "--val-dataset", fewer), "the validation part has no image of 1 class (")


def test_files_of_others_are_never_replaced(export: Export, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    for more in ([], ["--overwrite"]):
        refused(export("--to", "parquet", *more), "holds files that no export wrote")
    assert tree(tmp_path / "out") == {"thesis.tex": b"mine"}


def test_an_export_is_replaced_when_told_and_only_by_a_whole_one(export: Export, tmp_path: Path, dataset: Path) -> None:
    before = tree(exported(export("--to", "parquet"), tmp_path / "out"))
    refused(export("--to", "webdataset"), "--overwrite replaces it")
    damaged = Path(shutil.copytree(dataset, tmp_path / "damaged"))
    with (damaged / "000001.tar").open("r+b") as file:
        file.seek(20_000)
        file.write(b"\xff" * 2000)
    refused(export("--to", "webdataset", "--overwrite", source=damaged), "has changed since it was written", code=1)
    assert tree(tmp_path / "out") == before
    after = tree(exported(export("--to", "webdataset", "--overwrite"), tmp_path / "out"))
    assert "_info.json" in after
    assert not [name for name in after if name.endswith(".parquet")]


def test_a_partial_dataset_is_refused(export: Export, tmp_path: Path, dataset: Path) -> None:
    part = Path(shutil.copytree(dataset, tmp_path / "partial"))
    (part / "000001.parquet").unlink()
    refused(export("--to", "parquet", source=part), "1 of 2 shards are missing")


def test_an_export_into_the_dataset_is_refused(export: Export, tmp_path: Path, dataset: Path) -> None:
    for out in (dataset / "inside", dataset, dataset.parent):
        refused(export("--to", "parquet", "--out", out), "lies in the dataset")


KILLED = """
import os, signal, sys
from pathlib import Path
from genrobust.export.folder import new_folder
with new_folder(Path(sys.argv[1]), True) as folder:
    (folder / "croissant.json").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_nothing_that_looks_whole(export: Export, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for before in ({}, None):
        there = tree(exported(export("--to", "parquet", "--overwrite"), out)) if before is None else before
        killed = subprocess.run([sys.executable, "-c", KILLED, str(out)], env={**os.environ})
        assert killed.returncode == -signal.SIGKILL
        assert (tree(out) if out.exists() else {}) == there
    exported(export("--to", "parquet", "--overwrite"), out)


def test_a_kill_between_the_renames_loses_nothing(export: Export, tmp_path: Path) -> None:
    folder = exported(export("--to", "parquet"), tmp_path / "out")
    before = tree(folder)
    folder.rename(tmp_path / ".out.old")  # where the kill left it
    refused(export("--to", "parquet"), "--overwrite replaces it")
    assert tree(folder) == before


def test_two_exports_at_once_do_not_meet(export: Export, tmp_path: Path) -> None:
    from genrobust.core.files import lock

    with lock(tmp_path):
        refused(export("--to", "parquet"), "another process is writing to")
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------ licences


def generator(folder: Path, header: str) -> Path:
    """A folder that passes for a generator's, with its card."""
    folder.mkdir()
    (folder / "model_index.json").write_text(f'{{"of": "{folder.name}"}}')
    (folder / "README.md").write_text(f"---\n{header}\n---\n# A generator\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("header", "named", "forbids"),
    [
        ("license: apache-2.0", "apache-2.0", False),
        ("license: [mit, cc-by-nc-4.0]", "mit, cc-by-nc-4.0", True),
        ("license: cc-by-nd-4.0", "cc-by-nd-4.0", True),
        ("license: other\nlicense_name: flux-1-dev-non-commercial-license", "flux-1-dev-non-commercial-license", True),
        ("license: other\nlicense_name: sai-nc-community", "sai-nc-community", True),
        ("license: research-only", "research-only", True),
        ("license: creativeml-openrail-m", "creativeml-openrail-m", False),
        ("license: other\nlicense_link: https://x.org/no-derivatives.md", "other", True),
        ("tags: [a]", "", False),
        ("license: [unclosed", "", False),
    ],
)
def test_a_licence_is_what_the_generators_card_says(tmp_path: Path, header: str, named: str, forbids: bool) -> None:
    folder = generator(tmp_path / "g", header)
    (found,) = licences_of([{"generator": "g", "weights_sha256": hash_folder(folder)}], folder)
    assert (found.generator, found.name, bool(found.forbids)) == ("g", named, forbids)


def test_the_embedded_generator_may_be_used() -> None:
    (found,) = licences_of([{"generator": "pictograms", "mode": "labels"}], None)
    assert (found.name, found.forbids) == ("apache-2.0", "")


def test_a_licence_that_forbids_must_be_accepted(export: Export, tmp_path: Path, samples: list[Sample]) -> None:
    folder = generator(tmp_path / "art", "license: cc-by-nc-4.0")
    made = {"generator": "art", "weights_sha256": hash_folder(folder)}
    source = write_dataset(tmp_path / "made", samples, **made)
    words = ("--to", "parquet", "--generator", folder)
    refused(export(*words, source=source), "the generator art is under cc-by-nc-4.0, which restricts")
    assert not (tmp_path / "out").exists()
    card = exported(export(*words, "--accept-licence", source=source), tmp_path / "out") / "README.md"
    assert "under cc-by-nc-4.0, which restricts what may be done" in card.read_text(encoding="utf-8")


def test_an_unknown_licence_is_told(export: Export, tmp_path: Path, samples: list[Sample]) -> None:
    source = write_dataset(tmp_path / "made", samples, generator="art", weights_sha256="1")
    done = export("--to", "parquet", source=source)
    assert "generator art" in " ".join(done.stderr.split())
    text = (exported(done, tmp_path / "out") / "README.md").read_text(encoding="utf-8")
    assert "No card of the generator art was at hand" in text
    assert "No licence was chosen for this dataset" in text
