"""A small fine-tuning job on real pictograms, for tests and for the process that they kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from genrobust.core.images import ImageSet, Subset
from genrobust.data.readers import pictograms
from genrobust.generate.train.finetune import finetune
from genrobust.recipe.diffusion import FinetuneConfig
from genrobust.recipe.generate import GeneratorConfig

SMALL = FinetuneConfig(steps=8, batch_size=4, warmup_steps=1, learning_rate=1e-2, save_every=2, precision="float32")


def images() -> ImageSet:
    """Twelve real images of three classes."""
    train = pictograms.load().train
    return Subset(train, np.concatenate([np.flatnonzero(train.labels == label)[:4] for label in (1, 2, 5)]))


def captions(label: int, style: str) -> tuple[str, ...]:
    return (f"{style} of {label}", f"{label} in {style}")


def settings(**changes: Any) -> FinetuneConfig:
    return FinetuneConfig.model_validate({**SMALL.model_dump(), **changes})


def run(base: Path, images: ImageSet, out: Path, seed: int = 0, **changes: Any) -> Path:
    generator = GeneratorConfig(model=str(base))
    return finetune(generator, images, captions, settings(**changes), seed, out, device="cpu", threads=1)
