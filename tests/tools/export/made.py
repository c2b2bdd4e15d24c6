"""A small generated dataset of real icons whose classes have awkward names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import Result

from genrobust.core.images import Sample, StudyData
from genrobust.core.keys import slug
from genrobust.data.shard_files import write_shard
from genrobust.data.shards import begin_dataset, finish_dataset

# Not in the order of their folders' names; "train" is what Hugging Face takes for a part; the last is hostile.
IDS = ("train", "n01440764", "Ice Cream/Ü", "ice-cream", "猫 {0..9} | <b>*`x`")
PER_CLASS = 8
GIVEN_UP = {"key": "train-000099", "label": 0, "blank": True, "redraws": 2, "reason": "blank after 2 redraws"}
MANIFEST: dict[str, Any] = {
    "shards": 2,
    "class_ids": list(IDS),
    "requests": len(IDS) * PER_CLASS + 1,
    "generator": "pictograms",
    "weights_sha256": "0" * 64,
    "mode": "labels",
    "steps": 15,
}


def sample(icons: StudyData, label: int, number: int, middle: str = "", **more: Any) -> Sample:
    """Icon `number` of a class, as if it had been generated."""
    of_class = np.flatnonzero(icons.train.labels == label)
    template = ("an emoji of a {}", "a line icon of a {}")[number % 2]
    key = f"{slug(IDS[label])}-{middle}{number:06d}"
    meta = {
        "class_id": IDS[label],
        "prompt": template.format(IDS[label].replace("{0..9}", "")),
        "template": template,
        "style": ("emoji", "outline")[number % 2],
        "seed": 2**63 - 1 - number,
        "generator": "pictograms",
        "mode": "labels",
        "steps": 15,
        "guidance_scale": 3.0,
        "redraws": int(number == 3),
        "black": number == 3,
        **more,
    }
    image = np.asarray(icons.train.image(int(of_class[number % len(of_class)])).convert("RGB"))
    return Sample(key, label, image, meta)


def write_dataset(folder: Path, samples: list[Sample], **manifest: Any) -> Path:
    """Write `samples` as two shards; a request was given up."""
    begin_dataset(folder, {**MANIFEST, **manifest})
    half = len(samples) // 2
    write_shard(folder, 0, samples[:half], [])
    write_shard(folder, 1, samples[half:], [GIVEN_UP])
    finish_dataset(folder)
    return folder


def refused(done: Result, *said: str, code: int = 2) -> None:
    assert done.exit_code == code, done.output
    words = " ".join(done.stderr.split())
    assert all(text in words for text in said), words


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
