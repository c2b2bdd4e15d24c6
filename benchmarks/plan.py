"""Cost of a dataset of a million images before and after generation: seconds and peak memory of each step.

    python benchmarks/plan.py --classes 1000 --per-class 1300

plans it, walks through all requests shard by shard as generation does, writes parquet files of as many rows without
images (about 100 bytes a row, into --folder), and opens these as a dataset to train on. Times are CPU seconds; memory
is the peak of the process so far (resource.getrusage), so it shows at which step it grew.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from genrobust.core import Artifact
from genrobust.core.images import ClassLabel, LabelSpace
from genrobust.data.shard_files import OK, SCHEMA, shard_name
from genrobust.data.shards import ShardDataset, begin_dataset, done_shards, missing_shards
from genrobust.generate.plan import Plan
from genrobust.recipe.generate import PromptConfig

REAL = 1300  # real images of each class that requests begin from, in the modes that read images
BATCH, SIDE = 256, 224  # of the training


def peak() -> float:
    """Peak memory of this process, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


@contextmanager
def measured(what: str) -> Iterator[None]:
    began, before = time.process_time(), peak()
    yield
    print(
        f"{what:<40} {time.process_time() - began:7.1f} s  peak {peak():6.0f} MB  (+{peak() - before:.0f})", flush=True
    )


def real_images(classes: int) -> SimpleNamespace:
    """The part of a set of real images that a plan needs."""
    keys = [f"n{label:08d}/n{label:08d}_{i}.JPEG" for label in range(classes) for i in range(REAL)]
    return SimpleNamespace(name="train", keys=keys, labels=np.repeat(np.arange(classes), REAL), fingerprint="real")


def walk(plan: Plan, shards: list[range]) -> None:
    """Make every request, shard by shard."""
    assert sum(len([plan[n] for n in numbers]) for numbers in shards) == len(plan)


def write(folder: Path, plan: Plan, shards: list[range]) -> None:
    """Write the parts of the dataset of `plan` that opening reads: complete parquet files, and tars of one byte."""
    begin_dataset(folder, {"shards": len(shards), "class_ids": list(plan.labels.ids)})
    for index, numbers in enumerate(shards):
        rows = []
        for place, number in enumerate(numbers):
            request = asdict(plan[number])
            image = {"status": OK, "offset": place * 500_000, "size": 400_000, "redraws": 0}
            rows.append({**request, **image, "image_sha256": hashlib.sha256(request["key"].encode()).hexdigest()})
        name = shard_name(index)
        (folder / f"{name}.tar").write_bytes(b"0")
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / f"{name}.parquet", compression="zstd")
        Artifact(folder).finish_part(name, [f"{name}.tar", f"{name}.parquet"], {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--per-class", type=int, default=1300)
    parser.add_argument("--shard-size", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="where parquet files are written; default: a temporary folder")
    asked = parser.parse_args()
    labels = LabelSpace(tuple(ClassLabel(f"n{i:08d}", f"Thing {i}", f"thing {i}") for i in range(asked.classes)))
    print(f"{asked.classes * asked.per_class:,} images; {peak():.0f} MB before the first step")

    with measured("plan, fingerprint, shards"):
        plan = Plan(labels, PromptConfig(), asked.per_class, data_seed=0)
        shards = plan.shards(asked.shard_size)
        print(f"{len(shards):,} shards, fingerprint {plan.fingerprint}")
    with measured("all requests, shard by shard"):
        walk(plan, shards)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (asked.folder or Path(temporary)) / "dataset"
        with measured("which shards are missing"):
            assert len(missing_shards(folder, len(shards))) == len(shards)
        with measured("writing parquet files"):
            write(folder, plan, shards)
        with measured("which shards are done, and whole"):
            assert len(done_shards(folder)) == len(shards)
        with measured("opening the dataset"):
            dataset = ShardDataset(folder)
        assert len(dataset) == len(plan)
        from genrobust.train.mixture import Mixture, Source

        print(f"torch is loaded; peak {peak():.0f} MB")
        with measured("a mixture of half of each class"):
            mixture = Mixture([Source("generated", dataset, fraction=0.5)], BATCH, SIDE)
            mixture.indices(seed=0, step=10_000)
    real = real_images(asked.classes)
    with measured("plan from real images, all requests"):
        walk(Plan(labels, PromptConfig(), asked.per_class, data_seed=0, sources=real), shards)


if __name__ == "__main__":
    main()
