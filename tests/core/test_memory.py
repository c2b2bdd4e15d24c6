"""A dataset of hundreds of thousands of images takes little memory."""

import subprocess
import sys

import pytest

OPENING = """
import shutil, sys
from pathlib import Path
import numpy as np
from genrobust.core import Sample
from genrobust.store import Artifact
from genrobust.data.shard_files import shard_name, write_shard
from genrobust.data.shards import ShardDataset, begin_dataset

folder, pixels = Path(sys.argv[1]), np.zeros((1, 1, 3), np.uint8)
begin_dataset(folder, {"shards": 100, "class_ids": []})
meta = {"prompt": "a photo of a thing", "style": "photo", "seed": 2**62, "generator": "one"}
write_shard(folder, 0, [Sample(f"n00000000-{i:06d}", 0, pixels, meta) for i in range(2000)], [])
for shard in range(1, 100):
    name = shard_name(shard)
    for kind in ("tar", "parquet"):
        (folder / f"{name}.{kind}").hardlink_to(folder / f"000000.{kind}")
    Artifact(folder).finish_part(name, [f"{name}.tar", f"{name}.parquet"], {})
before = peak()
dataset = ShardDataset(folder)
assert len(dataset) == 200_000
"""
MEASURED = """
import resource, sys
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
{}
print(peak() - before)
"""


def growth(code, *words):
    """By how many MiB the peak memory of a process grows in the last lines of `code`."""
    command = [sys.executable, "-c", MEASURED.format(code), *words]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.thorough
def test_opening_a_dataset_keeps_little_of_each_image(tmp_path):
    assert growth(OPENING, str(tmp_path)) < 70  # all metadata of 200,000 images takes 110
