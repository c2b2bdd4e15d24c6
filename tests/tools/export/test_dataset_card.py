"""The card says what the manifest, the shards, the filter, the audit and the cards of generators say."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard
from made import GIVEN_UP, IDS, PER_CLASS, read_json, refused, write_dataset
from PIL import Image
from typer.testing import CliRunner, Result

from genrobust.cli import app
from genrobust.core.images import Sample
from genrobust.data.filters import write_filter
from genrobust.data.shards import ShardDataset
from genrobust.tools.export.card import stated_license

Export = Callable[..., Path]
TOTAL = len(IDS) * PER_CLASS


def card_of(folder: Path) -> tuple[dict[str, Any], str]:
    """The card's header, and its body without escapes."""
    card = DatasetCard.load(folder / "README.md")
    return card.data.to_dict(), re.sub(r"\\(.)", r"\1", card.text)


def test_counts_and_faults_are_those_of_the_shards(export: Export, samples: list[Sample]) -> None:
    header, body = card_of(export("--to", "parquet", "--license", "cc-by-4.0"))
    assert header["license"] == "cc-by-4.0" and "This dataset: cc-by-4.0." in body
    assert header["task_categories"] == ["image-classification"]
    assert f"{TOTAL} images of {len(IDS)} classes" in body and f"{PER_CLASS} images a class" in body
    assert samples[0].meta["prompt"] in body
    redrawn = sum(s.meta["redraws"] > 0 for s in samples) + 1
    faults = f"{TOTAL + 1} requests, 1 gave no image (1 {GIVEN_UP['reason']}), and {redrawn} took more than one try"
    assert faults in body and "The generator pictograms: apache-2.0, as its card says." in body


def test_a_foreign_text_is_no_markup(export: Export, tmp_path: Path, samples: list[Sample]) -> None:
    hostile = [Sample(s.key, s.label, s.image, {**s.meta, "prompt": "<b>*x*|`y`"}) for s in samples]
    folder = export("--to", "imagefolder", source=write_dataset(tmp_path / "hostile", hostile))
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert r"\<b\>\*x\*\|\`y\`" in text and str(tmp_path) not in text


@pytest.fixture(scope="module")
def audited(dataset: Path, tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]) -> Path:
    """The audit of the dataset against a test set of which it holds a copy."""
    folder = tmp_path_factory.mktemp("audited")
    for s, image in ((samples[5], samples[5].image), (samples[3], 255 - samples[3].image)):
        place = folder / "camera" / IDS[s.label] / f"{s.key}.png"
        place.parent.mkdir(parents=True)
        Image.fromarray(image).save(place)
    words = ["--test", f"camera={folder / 'camera'}", "--allow-leaks", "camera", "--out", str(folder / "audit")]
    done = CliRunner().invoke(app, ["audit", str(dataset), *words])
    assert done.exit_code == 0, done.output
    return folder / "audit" / "audit.json"


def test_the_verdict_is_that_of_the_audit(export: Export, audited: Path) -> None:
    facts = read_json(audited)
    body = card_of(export("--to", "parquet", "--audit", audited))[1]
    assert any("camera" in sentence for sentence in facts["verdict"])
    assert all(f"- Audit: {' '.join(line.split())}" in body for line in (*facts["verdict"], *facts["left_out"]))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [('"fingerprint": "', '"fingerprint": "0', "another dataset"), ("{", "", "no audit.json")],
)
def test_an_audit_of_other_images_is_refused(
    run: Callable[..., Result], tmp_path: Path, audited: Path, before: str, after: str, said: str
) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps(read_json(audited)).replace(before, after, 1))
    refused(run("--to", "parquet", "--audit", other), "other.json", said)


def test_a_filter_leaves_out(export: Export, tmp_path: Path, dataset: Path) -> None:
    source = Path(shutil.copytree(dataset, tmp_path / "copy"))
    images = ShardDataset(source)
    scores = np.linspace(0, 1, len(images))
    applied = write_filter(images, "CLIP score", scores, scores < 0.3, "below 0.3", source)
    folder = export("--to", "parquet", "--filter", applied.folder.name, source=source)
    keys = pq.read_table(folder / "data" / "train-00000-of-00001.parquet")["key"].to_pylist()
    assert keys == [key for key in images.keys if key not in applied.rejected]
    assert f"left out {len(applied.rejected)} of {TOTAL} images, by CLIP score" in card_of(folder)[1]


def test_an_adapter_is_named(export: Export, tmp_path: Path, samples: list[Sample]) -> None:
    redux: dict[str, Any] = {"adapter": "art/redux", "adapter_sha256": "2", "adapter_scale": 0.5}
    named = [Sample(s.key, s.label, s.image, {**s.meta, **redux, "adapter_file": "ip.safetensors"}) for s in samples]
    folder = export("--to", "parquet", source=write_dataset(tmp_path / "made", named, **redux))
    assert set(pq.read_table(folder / "data", columns=["adapter"])["adapter"].to_pylist()) == {"art/redux"}
    assert "The adapter art/redux: read its card." in card_of(folder)[1]


@pytest.mark.parametrize(
    ("model", "license"),
    [
        ("pictograms", "apache-2.0"),
        ("art/words", "flux-1-dev"),
        ("mine", "mit"),
        ("nobody/nothing", ""),
        ("unreadable", ""),
        ("/no/folder", ""),
        ("", ""),
    ],
)
def test_a_license_is_what_a_card_on_this_machine_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, license: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    cached = tmp_path / "cache" / "models--art--words"
    for folder, header in (
        (cached / "snapshots" / ("0" * 40), "license: other\nlicense_name: flux-1-dev"),
        (tmp_path / "mine", "license: mit"),
        (tmp_path / "unreadable", "license: [unclosed"),
    ):
        folder.mkdir(parents=True)
        (folder / "README.md").write_text(f"---\n{header}\n---\n# A generator\n")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0" * 40)
    monkeypatch.chdir(tmp_path)
    assert stated_license(model) == license
