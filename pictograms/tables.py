"""Writes the files of the Pictograms dataset: its tables of images, its sets and its counts."""

from __future__ import annotations

import io
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

if TYPE_CHECKING:
    from drawings import Drawing


def encoded(pixels: np.ndarray) -> bytes:
    """Lossless WebP, from one channel where the drawing is gray."""
    image = Image.fromarray(pixels)
    if (pixels == pixels[..., :1]).all():
        image = image.convert("L")
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=True, quality=60, method=4, exact=True)
    return buffer.getvalue()


def write_table(path: Path, drawings: list[Drawing], index: dict[str, int]) -> None:
    drawings.sort(key=lambda d: (index[d.class_id], d.split, d.style, d.family, d.key))
    columns = {
        "key": pa.array([d.key for d in drawings], pa.string()),
        "image": pa.array([encoded(d.pixels) for d in drawings], pa.binary()),
        "class": pa.array([index[d.class_id] for d in drawings], pa.int16()),
        **{c: pa.array([getattr(d, c) for d in drawings], pa.string())
           for c in ("class_id", "style", "split", "family", "set", "name", "license", "sha256")},
    }  # fmt: skip
    pq.write_table(pa.table(columns), path, compression="zstd", compression_level=19)


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, sort_keys=isinstance(value, dict)) + "\n")


def sets_used(package: Path, drawings: list[Drawing]) -> dict[str, dict]:
    """Title, author and license of every set with an image in the dataset."""
    used = Counter(d.set for d in drawings)
    out = {}
    for set_id in sorted(used):
        info = json.loads((package / "json" / f"{set_id}.json").read_text())["info"]
        license = info["license"]
        out[set_id] = {
            "title": info["name"], "version": info.get("version", ""),
            "author": info["author"]["name"], "author_url": info["author"].get("url", ""),
            "license": license.get("spdx") or license["title"], "license_url": license.get("url", ""),
            "images": used[set_id],
        }  # fmt: skip
    return out


def census(drawings: list[Drawing], counts: Counter[str]) -> dict:
    nested: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(Counter))
    for d in drawings:
        nested["class, split"][d.class_id][d.split] += 1
        nested["class, side and style"][d.class_id][f"{d.side}/{d.style}"] += 1
        nested["side, style"][d.side][d.style] += 1
        nested["side, family"][d.side][d.family] += 1
        nested["side, split"][d.side][d.split] += 1
    return {"images": len(drawings), "steps": dict(sorted(counts.items())), **nested}
