"""Small trainings of generators on real pictograms, for tests and for the processes that they kill."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.classifiers import training_state
from genrobust.core.images import ImageSet, LabelSpace, Subset
from genrobust.data import pictograms
from genrobust.generate.train.class_model import ClassModel
from genrobust.generate.train.finetune import Finetune
from genrobust.generate.train.trainer import train_generator
from genrobust.recipe.diffusion import ClassModelConfig, FinetuneConfig
from genrobust.recipe.generate import GeneratorConfig, PromptConfig

STEPS = {"steps": 8, "batch_size": 4, "warmup_steps": 1, "learning_rate": 1e-2, "save_every": 2}
TINY = {"depth": 2, "width": 16, "heads": 2}


@cache
def small_set() -> tuple[ImageSet, LabelSpace]:
    """Twelve real images of three classes."""
    data = pictograms.load()
    few = np.concatenate([np.flatnonzero(data.train.labels == label)[:4] for label in (0, 1, 2)])
    return Subset(data.train, few), LabelSpace(data.labels.classes[:3])


def run(base: str, out: str, kind: str = "finetune", first_scale: float | None = None, **changes: Any) -> Path:
    """Train the `kind` of generator, "finetune" or "class_model", from the generator in the folder `base`."""
    if first_scale is not None:
        training_state.FIRST_SCALE = first_scale
    images, labels = small_set()
    given = GeneratorConfig(model=base), images, labels, 0
    settings = {**STEPS, "precision": "float32", **changes}
    if kind == "finetune":
        objective: Any = Finetune(given[0], FinetuneConfig(**settings), *given[1:], PromptConfig())
    else:
        objective = ClassModel(given[0], ClassModelConfig(**TINY, **settings), *given[1:])
    return train_generator(objective, Path(out), device="cpu", threads=1)
