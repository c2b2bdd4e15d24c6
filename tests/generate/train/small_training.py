"""Small trainings of diffusion models on twelve real pictograms, for tests and for the process that they kill."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genrobust.classifiers.networks import training_state
from genrobust.core import ImageSet, LabelSpace, Subset
from genrobust.data.readers import pictograms
from genrobust.generate import ClassModel, Finetune, train_generator, training_inputs
from genrobust.generate.mode import Generator
from genrobust.generate.pipeline_loading import load_generator
from genrobust.generate.train.generator_trainer import GeneratorTrainer
from genrobust.generate.train.objective import Objective
from genrobust.recipe import ClassModelConfig, FinetuneConfig, GeneratorConfig, PromptConfig
from genrobust.store import Artifact, Manifest

CPU = torch.device("cpu")
SMALL = {"steps": 8, "batch_size": 4, "warmup_steps": 1, "learning_rate": 1e-2, "save_every": 2, "precision": "float32"}
PROMPTS = PromptConfig(templates=("outline of a {}", "a {} in outline"))
LORA = "pytorch_lora_weights.safetensors"
UNET = "unet/diffusion_pytorch_model.safetensors"
KINDS = ("full", "lora", "class")  # what is trained: a whole UNet, a LoRA, a class model


@cache
def images() -> ImageSet:
    """Four real images of each of three classes."""
    train = pictograms.load_pictograms().train
    return Subset(train, np.concatenate([np.flatnonzero(train.labels == label)[:4] for label in range(3)]))


def labels() -> LabelSpace:
    return LabelSpace(pictograms.load_pictograms().labels.classes[:3])


def objective(base: Path | GeneratorConfig, kind: str, on: ImageSet | None = None, **changes: Any) -> Objective:
    """What a training of a kind in KINDS learns, from the images `on` or the twelve."""
    generator = base if isinstance(base, GeneratorConfig) else GeneratorConfig(model=str(base))
    learned, names = images() if on is None else on, labels()
    if kind == "class":
        config = ClassModelConfig.model_validate({**SMALL, "channels": (32, 64), **changes})
        return ClassModel(generator, config, learned, names, 0)
    return Finetune(generator, FinetuneConfig(method=kind, **{**SMALL, **changes}), learned, names, 0, PROMPTS)


def loaded(folder: Path, **changes: Any) -> Generator:
    return load_generator(GeneratorConfig(model=str(folder), scheduler=None, dtype="float32", **changes), CPU)


def run(base: Path | GeneratorConfig, out: Path, kind: str = "full", **changes: Any) -> Path:
    return train_generator(objective(base, kind, **changes), out, "cpu", threads=1)


def run_in_process(base: str, out: str, kind: str, changes: dict[str, Any], first_scale: float | None = None) -> None:
    """What `run` does, in a process that a test kills."""
    if first_scale is not None:
        training_state.FIRST_SCALE = first_scale
    run(Path(base), Path(out), kind, **changes)


def started(
    base: Path, out: Path, kind: str = "full", trainer: type[GeneratorTrainer] = GeneratorTrainer, **changes: Any
) -> GeneratorTrainer:
    """A training before its first step, the same as `run`."""
    wanted = objective(base, kind, **changes)
    job = training_inputs(wanted, "cpu", 1)
    out.mkdir(exist_ok=True)
    Artifact(out).begin(Manifest("generator", job))
    torch.set_num_threads(1)
    return trainer(wanted, CPU, out, job)
