"""Trains a diffusion model on real images: fine-tunes a generator, or trains a class model from scratch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from genrobust.classifiers import resolved_here
from genrobust.core import UserError, hash_folder, resolve_device, set_threads
from genrobust.generate.loading import locate
from genrobust.generate.train.class_model import ClassModel
from genrobust.generate.train.finetune import Finetune
from genrobust.generate.train.loop import Training, prepared, train_once
from genrobust.generate.train.objective import GeneratorTraining, Objective
from genrobust.recipe import ClassModelConfig, DiffusionTraining, FinetuneConfig

OBJECTIVES: dict[type[DiffusionTraining], type[Objective]] = {FinetuneConfig: Finetune, ClassModelConfig: ClassModel}


def train_generator(wanted: GeneratorTraining, out: Path, device: str = "auto", threads: int = 2) -> Path:
    """Train what `wanted` describes into the folder `out`, and return that.

    It is then a diffusers folder for ``generator.model``: the base with another UNet, or a DiTPipeline; or, for a LoRA,
    a folder with a safetensors file for ``generator.lora``. The saved weights are the averaged ones. `finetune.json` or
    `class_model.json` says beside them what they were made from. A killed run resumes at its last state and ends in the
    same weights, on a CPU bit for bit; a finished one returns at once.

    Raises:
        UserError: No images, an image that cannot be read, a base that does not fit, or a folder that holds something
            else.
        GenrobustError: The loss is NaN or infinite, memory runs out, or the disk is full.
    """
    chosen = resolve_device(device)
    set_threads(threads)
    objective = _objective(wanted, chosen.type)
    config, job = objective.training.config, _inputs(objective, chosen.type, threads)

    def begin() -> Training:
        model, schedule, examples = objective.start(chosen)
        prepared(model, config)
        return Training(model, schedule, examples, config, wanted.seed, out, job)

    return train_once(out, job, config, chosen, begin, lambda done: objective.save(out, done.model))


def training_inputs(wanted: GeneratorTraining, device: str, threads: int) -> dict[str, Any]:
    """Return what decides the weights that `train_generator` makes, as flat JSON. Loads no weights.

    `device` is "cuda", "mps" or "cpu". Raises UserError as `train_generator` does for images and base.
    """
    return _inputs(_objective(wanted, device), device, threads)


def _objective(wanted: GeneratorTraining, device: str) -> Objective:
    if wanted.base.engine != "diffusers":
        raise UserError(
            f"generator.engine is {wanted.base.engine}: only generators of the engine diffusers are trained"
        )
    config = resolved_here(wanted.config, device)
    return OBJECTIVES[type(config)](replace(wanted, config=config))


def _inputs(objective: Objective, device: str, threads: int) -> dict[str, Any]:
    training = objective.training
    id, folder = locate(training.base)
    return {
        "base": id,
        "base_sha256": hash_folder(folder),
        "images": len(training.images),
        "images_fingerprint": training.images.fingerprint,
        **objective.inputs(),
        **training.config.model_dump(mode="json", exclude={"save_every"}),
        "seed": training.seed,
        "device": device,
        "threads": threads,
    }
