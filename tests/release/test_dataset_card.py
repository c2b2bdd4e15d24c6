"""The card tells what the manifest, the shards and the audit say; Croissant metadata that its own program accepts."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from made import GIVEN_UP, IDS, PER_CLASS, exported, read_json
from PIL import Image
from typer.testing import CliRunner, Result

from genrobust.cli import app
from genrobust.core.images import Sample
from genrobust.data.filters import write_filter
from genrobust.data.shards import ShardDataset

Export = Callable[..., Result]
TOTAL = len(IDS) * PER_CLASS
LEAKED = 5  # the index of an image of the first class


def card_of(folder: Path) -> tuple[dict[str, Any], str]:
    """The card's header and its body."""
    _, header, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(header), body


def rows_of(body: str, head: str) -> list[list[str]]:
    """The rows of the table that begins with the line `head`."""
    lines = body[body.index(head) :].splitlines()[2:]
    table = lines[: next(i for i, line in enumerate(lines) if not line.startswith("|"))]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table]


def plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def test_counts_by_part_and_class(export: Export, tmp_path: Path, dataset: Path, samples: list[Sample]) -> None:
    folder = exported(export("--to", "parquet", "--val", 0.25, "--licence", "cc-by-4.0"), tmp_path / "out")
    header, body = card_of(folder)
    assert header["license"] == "cc-by-4.0"
    assert (header["size_categories"], header["task_categories"]) == (["n<1K"], ["image-classification"])
    size = sum(row["size"] or 0 for row in ShardDataset(dataset).metadata(("size",)).to_pylist())
    splits = {s["name"]: s for s in header["dataset_info"]["splits"]}
    assert {n: s["num_examples"] for n, s in splits.items()} == {"train": 30, "validation": 10}
    assert sum(s["num_bytes"] for s in splits.values()) == size
    (label,) = [f for f in header["dataset_info"]["features"] if f["name"] == "label"]
    assert label["dtype"]["class_label"]["names"] == {str(i): id for i, id in enumerate(IDS)}
    classes = rows_of(body, "| label | id | name |")
    assert [(plain(row[1]), row[3:]) for row in classes] == [(id, ["6", "2"]) for id in IDS]
    assert classes[1][2] == "tench"
    assert [row[:3] for row in rows_of(body, "| part |")] == [["train", "30", "6"], ["validation", "10", "2"]]
    templates = {plain(row[0]): int(row[1]) for row in rows_of(body, "| template | images |")}
    assert templates == {
        t: sum(s.meta["template"] == t for s in samples) for t in {s.meta["template"] for s in samples}
    }
    assert samples[0].meta["prompt"] in body


def test_faults_are_those_of_the_shards(export: Export, tmp_path: Path, samples: list[Sample]) -> None:
    _, body = card_of(exported(export("--to", "parquet"), tmp_path / "out"))
    faults = body[body.index("## Known faults") :]
    redrawn = sum(s.meta["redraws"] > 0 for s in samples) + 1
    assert f"of {TOTAL + 1} requests, 1 gave no image (1 {GIVEN_UP['reason']})" in faults
    assert f"{redrawn} requests drawn more than once (black {redrawn - 1}, blank 1)" in faults


def test_nothing_in_a_name_is_markup(export: Export, tmp_path: Path) -> None:
    _, body = card_of(exported(export("--to", "imagefolder"), tmp_path / "out"))
    assert r"猫 {0..9} \| \<b\>\*\`x\`" in body
    assert re.sub(r"</?(details|summary)>", "", body).replace(r"\<", "").count("<") == 0


def test_the_sheet_shows_images_of_every_class(export: Export, tmp_path: Path) -> None:
    folder = exported(export("--to", "webdataset"), tmp_path / "out")
    paper = np.asarray(Image.open(folder / "contact_sheet.png").convert("L"))
    rows = np.array_split(paper, len(IDS))
    assert all((row[:, :100] < 128).any() and (row[:, 200:] < 128).any() for row in rows)  # a name, and images
    assert "(contact_sheet.png)" in card_of(folder)[1]


@pytest.fixture
def audited(dataset: Path, tmp_path: Path, samples: list[Sample]) -> Path:
    """The audit of the dataset against a test set that has leaked into it: its image LEAKED is there, and another."""
    for s, pixels in ((samples[LEAKED], samples[LEAKED].image), (samples[3], 255 - samples[3].image)):
        place = tmp_path / "camera" / IDS[s.label] / f"{s.key}.png"
        place.parent.mkdir(parents=True)
        Image.fromarray(pixels).save(place)
    words = ["--test", f"camera={tmp_path / 'camera'}", "--allow-leaks", "camera", "--out", str(tmp_path / "audit")]
    done = CliRunner().invoke(app, ["audit", str(dataset), *words])
    assert done.exit_code == 0, done.output
    return tmp_path / "audit" / "audit.json"


def test_figures_are_those_of_the_audit(export: Export, tmp_path: Path, audited: Path) -> None:
    facts = read_json(audited)
    _, body = card_of(exported(export("--to", "parquet", "--audit", audited), tmp_path / "out"))
    rows = {plain(name): figure for name, figure in rows_of(body, "| measured |")}
    assert rows["images audited"] == f"{facts['n']}"
    inside = facts["inside"]
    assert rows["images with a copy among the others"] == f"{inside['exact']} exact, {inside['near']} near"
    for line in facts["left_out"]:
        assert line in plain(" ".join(body.split()))


def test_leaks_are_named_and_flagged(export: Export, tmp_path: Path, audited: Path, samples: list[Sample]) -> None:
    (found,) = read_json(audited)["of_tests"]
    assert LEAKED in found["flagged"]
    folder = exported(export("--to", "parquet", "--audit", audited), tmp_path / "out")
    table = pq.read_table(folder / "data" / "train-00000-of-00001.parquet", columns=["key", "flagged"]).to_pylist()
    leaked = [samples[i].key for i in found["flagged"]]
    assert {r["key"]: r["flagged"] for r in table if r["flagged"]} == dict.fromkeys(leaked, "a copy of a test image")
    count = found["exact"] + found["near"]
    body = plain(card_of(folder)[1])
    assert count == len(leaked) == 1
    assert f"1 copy of camera. 1 exported image is such, flagged: {leaked[0]}" in body
    assert dict(rows_of(body, "| measured |"))["copies of test images of camera"] == (
        f"{found['exact']} exact, {found['near']} near"
    )


def test_an_audit_of_other_images_is_refused(export: Export, tmp_path: Path, audited: Path) -> None:
    text = audited.read_text(encoding="utf-8").replace(read_json(audited)["dataset"]["fingerprint"], "0" * 12)
    (tmp_path / "other.json").write_text(text, encoding="utf-8")
    (tmp_path / "none.json").write_text("[]", encoding="utf-8")
    for name, said in (
        ("other", "is of another dataset"),
        ("none", "is no audit.json"),
        ("x", "there is no such file"),
    ):
        done = export("--to", "parquet", "--audit", tmp_path / f"{name}.json")
        assert (done.exit_code, said in " ".join(done.stderr.split())) == (2, True), done.output


def test_a_filter_leaves_out_and_another_flags(export: Export, tmp_path: Path, dataset: Path) -> None:
    source = Path(shutil.copytree(dataset, tmp_path / "copy"))
    images = ShardDataset(source)
    scores = np.linspace(0, 1, len(images))
    applied = write_filter(source, images, "CLIP score", scores, scores < 0.3, "below 0.3")
    other = write_filter(source, images, "confidence", 1 - scores, scores > 0.9, "below 0.1")
    folder = exported(export("--to", "parquet", "--filter", applied.path.stem, source=source), tmp_path / "out")
    table = pq.read_table(folder / "data" / "train-00000-of-00001.parquet", columns=["key", "flagged"]).to_pylist()
    assert [r["key"] for r in table] == [k for k in images.keys if k not in applied.rejected]
    flagged = {r["key"]: r["flagged"] for r in table if r["flagged"]}
    assert flagged == {key: f"{other.path.stem}: {reason}" for key, reason in other.rejected.items()}
    body = plain(card_of(folder)[1])
    assert f"left out {len(applied.rejected)} of {TOTAL} images, by CLIP score" in body
    assert f"Not applied: {other.path.name}" in body


def test_no_path_of_the_machine_is_told(export: Export, tmp_path: Path) -> None:
    folder = exported(export("--to", "parquet"), tmp_path / "out")
    for name in ("README.md", "croissant.json"):
        assert str(tmp_path.parent) not in (folder / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("to", ["imagefolder", "webdataset", "parquet"])
def test_croissant_is_valid_and_gives_records(export: Export, tmp_path: Path, to: str, samples: list[Sample]) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    folder = exported(export("--to", to, "--val", 0.25), tmp_path / "out")
    found = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    assert found.metadata.ctx.issues.errors == set()
    classes = [(r["classes/label"], r["classes/id"]) for r in found.records("classes")]
    assert classes == list(enumerate(IDS))
    keys = set()
    for part in ("train", "validation"):
        for record in found.records(part):
            key = record[f"{part}/key"]
            keys.add(key.decode() if isinstance(key, bytes) else key)
    assert keys == {s.key for s in samples}
