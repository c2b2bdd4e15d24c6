"""Trains a diffusion model on real images: fine-tunes a generator, or trains a class model from scratch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from genrobust.classifiers import resolved_here
from genrobust.core import UserError, hash_folder, keep_freed_memory, resolve_device, set_threads
from genrobust.generate.loading import locate
from genrobust.generate.train.loop import DiffusionTrainer, prepared, train_once
from genrobust.generate.train.objective import Objective


def train_generator(objective: Objective, out: Path, device: str = "auto", threads: int = 2) -> Path:
    """Train the model of `objective` into the folder `out`, and return that.

    It is then a diffusers folder for ``generator.model``: the base with another UNet, or a DiTPipeline; or, for a LoRA,
    a folder with a safetensors file for ``generator.lora``. The saved weights are the averaged ones. `finetune.json` or
    `class_model.json` says beside them what they were made from. A killed run resumes at its last state and ends in the
    same weights, on a CPU bit for bit; a finished one returns at once.

    Raises:
        UserError: An image cannot be read, the base does not fit, or the folder holds something else.
        GenrobustError: The loss is NaN or infinite, memory runs out, or the disk is full.
    """
    chosen = resolve_device(device)
    set_threads(threads)
    keep_freed_memory()
    objective = replace(objective, config=resolved_here(objective.config, chosen.type))
    job = training_inputs(objective, chosen.type, threads)

    def begin() -> DiffusionTrainer:
        model, schedule, examples = objective.start(chosen)
        prepared(model, objective.config)
        return DiffusionTrainer(model, schedule, examples, objective.config, objective.seed, out, job)

    return train_once(out, job, objective.config, chosen, begin, lambda done: objective.save(out, done.model))


def training_inputs(objective: Objective, device: str, threads: int) -> dict[str, Any]:
    """Return what decides the weights that `train_generator` makes, as flat JSON. Loads no weights.

    `device` is "cuda", "mps" or "cpu". Raises UserError where the base cannot be found or trained.
    """
    base, images = objective.base, objective.images
    if base.engine != "diffusers":
        raise UserError(f"generator.engine is {base.engine}: only a generator of diffusers can be trained")
    id, folder = locate(base)
    return {
        "base": id,
        "base_sha256": hash_folder(folder),
        "images": len(images),
        "images_fingerprint": images.fingerprint,
        **objective.inputs(),
        **resolved_here(objective.config, device).model_dump(mode="json", exclude={"save_every"}),
        "seed": objective.seed,
        "device": device,
        "threads": threads,
    }
