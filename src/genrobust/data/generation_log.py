"""The making of a dataset, counted from its own metadata: requests, redraws and failures."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa

from genrobust.core import Making
from genrobust.data.shard_files import GIVEN_UP

FAULTS = ("black", "blank", "nan", "unsafe")
USED = ("status", "reason", "redraws", *FAULTS)  # the columns that are counted


def making(metadata: pa.Table) -> Making:
    """Count over a dataset's metadata, one row a request, as `ShardDataset.metadata` returns it."""
    columns = {name: metadata[name].to_pylist() for name in USED}
    reasons = Counter(r or "" for r, s in zip(columns["reason"], columns["status"], strict=True) if s == GIVEN_UP)
    return Making(
        metadata.num_rows,
        sum(reasons.values()),
        sum(1 for n in columns["redraws"] if n),
        {name: sum(1 for flag in columns[name] if flag) for name in FAULTS},
        dict(sorted(reasons.items())),
    )
