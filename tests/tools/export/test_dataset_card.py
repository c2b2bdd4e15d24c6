"""The card says what the manifest, the shards, the filters and the audit say."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard
from made import GIVEN_UP, IDS, PER_CLASS, read_json, refused
from PIL import Image
from typer.testing import CliRunner, Result

from genrobust.cli import app
from genrobust.core.images import Sample
from genrobust.data.filters import write_filter
from genrobust.data.shards import ShardDataset

Export = Callable[..., Path]
TOTAL = len(IDS) * PER_CLASS
LEAKED = 5  # the index of an image of the first class


def card_of(folder: Path) -> tuple[dict[str, Any], str]:
    """The card's header and its body."""
    card = DatasetCard.load(folder / "README.md")
    return card.data.to_dict(), card.text


def rows_of(body: str, head: str) -> list[list[str]]:
    """The rows of the table that begins with the line `head`, without escapes."""
    lines = body[body.index(head) :].splitlines()[2:]
    table = lines[: next(i for i, line in enumerate(lines) if not line.startswith("|"))]
    return [[plain(cell.strip()) for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table]


def plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def test_counts_faults_and_names_are_those_of_the_shards(export: Export, dataset: Path, samples: list[Sample]) -> None:
    folder = export("--to", "parquet", "--val", 0.25, "--license", "cc-by-4.0")
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
    assert [(row[1], row[3:]) for row in classes] == [(id, ["6", "2"]) for id in IDS]
    assert classes[1][2] == "tench"
    assert [row[:3] for row in rows_of(body, "| part |")] == [["train", "30", "6"], ["validation", "10", "2"]]
    templates = {row[0]: int(row[1]) for row in rows_of(body, "| template | images |")}
    assert templates == Counter(s.meta["template"] for s in samples)
    assert samples[0].meta["prompt"] in body
    faults, redrawn = body[body.index("## Known faults") :], sum(s.meta["redraws"] > 0 for s in samples) + 1
    assert f"Of {TOTAL + 1} requests, 1 gave no image (1 {GIVEN_UP['reason']})" in faults
    assert f"{redrawn} requests drawn more than once (black {redrawn - 1}, blank 1)" in faults


@pytest.mark.parametrize("to", ["imagefolder", "parquet", "webdataset"])
def test_no_name_is_markup_or_a_folder(export: Export, tmp_path: Path, to: str) -> None:
    folder = export("--to", to)
    body = card_of(folder)[1]
    assert r"猫 {0..9} \| \<b\>\*\`x\`" in body
    assert re.sub(r"</?(details|summary)>", "", body).replace(r"\<", "").count("<") == 0
    assert str(tmp_path.parent) not in (folder / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def audited(dataset: Path, tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]) -> Path:
    """The audit of the dataset against a test set that has leaked into it: its image LEAKED is there, and another."""
    folder = tmp_path_factory.mktemp("audited")
    for s, image in ((samples[LEAKED], samples[LEAKED].image), (samples[3], 255 - samples[3].image)):
        place = folder / "camera" / IDS[s.label] / f"{s.key}.png"
        place.parent.mkdir(parents=True)
        Image.fromarray(image).save(place)
    words = ["--test", f"camera={folder / 'camera'}", "--allow-leaks", "camera", "--out", str(folder / "audit")]
    done = CliRunner().invoke(app, ["audit", str(dataset), *words])
    assert done.exit_code == 0, done.output
    return folder / "audit" / "audit.json"


def test_the_verdict_and_the_leaks_are_those_of_the_audit(export: Export, audited: Path, samples: list[Sample]) -> None:
    facts = read_json(audited)
    (leaks,) = facts["of_tests"]
    body = plain(card_of(export("--to", "parquet", "--audit", audited))[1])
    assert (
        facts["verdict"]
        and [line for line in (*facts["verdict"], *facts["left_out"]) if " ".join(line.split()) not in body] == []
    )
    (leaked,) = [samples[i].key for i in leaks["flagged"]]
    assert leaked == samples[LEAKED].key
    assert f"1 copy of camera. Of the exported images, {leaked}." in body


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"fingerprint": "', '"fingerprint": "0', "another dataset"),
        ('"of_tests"', '"tests"', "of_tests"),
        ("{", "", "no audit.json"),
    ],
)
def test_an_audit_of_other_images_is_refused(
    run: Callable[..., Result], tmp_path: Path, audited: Path, before: str, after: str, said: str
) -> None:
    other = tmp_path / "other.json"
    changed = json.dumps(json.loads(audited.read_bytes())).replace(before, after, 1)
    other.write_text(changed)
    refused(run("--to", "parquet", "--audit", other), "other.json", said)


def test_a_filter_leaves_out(export: Export, tmp_path: Path, dataset: Path) -> None:
    source = Path(shutil.copytree(dataset, tmp_path / "copy"))
    images = ShardDataset(source)
    scores = np.linspace(0, 1, len(images))
    applied = write_filter(images, "CLIP score", scores, scores < 0.3, "below 0.3", source)
    folder = export("--to", "parquet", "--filter", applied.folder.name, source=source)
    keys = pq.read_table(folder / "data" / "train-00000-of-00001.parquet")["key"].to_pylist()
    assert keys == [key for key in images.keys if key not in applied.rejected]
    body = plain(card_of(folder)[1])
    assert f"left out {len(applied.rejected)} of {TOTAL} images, by CLIP score" in body
    assert f"--filter {applied.folder.name}" in body
