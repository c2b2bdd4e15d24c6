"""Datasets drawn by a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drawn import generate
from image_server import SIDE

from genrobust.core import ClassLabel, LabelSpace
from genrobust.data import ShardDataset
from genrobust.generate import Plan, plan_of
from genrobust.recipe import ENGINES, GenerateConfig, GeneratorConfig, PromptConfig

ENGINES.names()  # loads diffusers now, and not in each process that is forked from one with this module
LABELS = LabelSpace(tuple(ClassLabel(name, name.title(), name) for name in ("camera", "guitar", "rocket", "tree")))


def section(url: str, steps: int = 4, **server: Any) -> GeneratorConfig:
    own = {"url": url, "timeout": 20, "retries": 30, "concurrency": 16, "max_images": 5000, **server}
    return GeneratorConfig(engine="openai", model="painter", width=SIDE, height=SIDE, steps=steps, server=own)


def planned(generator: GeneratorConfig, images: int, **prompts: Any) -> tuple[Plan, GenerateConfig]:
    """The plan of so many `images`, in shards of 50."""
    per_class = images // len(LABELS)
    config = GenerateConfig(per_class=per_class, shard_size=50, batch_size=50, prompts=PromptConfig(**prompts))
    return plan_of(generator, config, LABELS, None, 3), config


def run(out: str, url: str, images: int) -> ShardDataset:
    """Draw a dataset into the folder `out`, from a server that is slow for a second now and then."""
    generator = section(url, timeout=3)
    plan, config = planned(generator, images)
    return generate(plan, generator, config, Path(out))
