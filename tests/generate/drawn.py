"""Draws with tiny generators as a study does: whole datasets, and single batches."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genrobust.core import FLAT_IMAGE
from genrobust.data import ShardDataset
from genrobust.generate import Generation, Plan, open_generated
from genrobust.generate.sampler import Drawing
from genrobust.recipe import GenerateConfig, GeneratorConfig

CPU = torch.device("cpu")


def generate(
    plan: Plan,
    generator: GeneratorConfig,
    config: GenerateConfig,
    out: Path,
    shards: Collection[int] | None = None,
    **more: Any,
) -> ShardDataset:
    """Draw the missing shards, or those of `shards` alone, in this process, on one thread of the CPU."""
    job = Generation(plan, generator, config, out, "cpu", 1, **more)
    with job.claimed() as missing:
        if drawn := [index for index in missing if shards is None or index in shards]:
            job.load()(drawn)
        return open_generated(out) if shards is None else ShardDataset(out, allow_partial=True)


def pixels(drawn: Sequence[Drawing] | ShardDataset) -> np.ndarray:
    """Images as int [N, H, W, 3], so that differences do not wrap."""
    if isinstance(drawn, ShardDataset):
        return np.stack([np.asarray(drawn.image(i), int) for i in range(len(drawn))])
    return np.stack([d.image for d in drawn]).astype(int)


def darkness_to_black(image: np.ndarray) -> float:
    """How much darker an image in [0, 1] must be to count as black."""
    lo, hi = 0.0, 1.0
    for _ in range(20):
        middle = (lo + hi) / 2
        lo, hi = (lo, middle) if np.clip(image - middle, 0, 1).mean() < FLAT_IMAGE else (middle, hi)
    return hi
