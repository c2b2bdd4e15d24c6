"""Trains a diffusion model on real images: fine-tunes a generator, or trains a class model from scratch."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from genrobust.classifiers import claim_training, require_same_job, resolved_here
from genrobust.core import (
    Artifact,
    Manifest,
    UserError,
    hash_generator,
    keep_freed_memory,
    made_by,
    repeatable,
    resolve_device,
    set_threads,
)
from genrobust.generate.calls import explain_out_of_memory
from genrobust.generate.loading import locate
from genrobust.generate.train.loop import GeneratorTrainer
from genrobust.generate.train.objective import Objective
from genrobust.generate.trained_folder import GENERATOR
from genrobust.recipe import FinetuneConfig, GeneratorTraining


def train_generator(objective: Objective, out: Path, device: str = "auto", threads: int = 2) -> Path:
    """Train the model of `objective` into the folder `out`, and return that.

    It is then a diffusers folder for ``generator.model``: the base with another UNet, or a DiTPipeline; or, for a LoRA,
    a folder with a safetensors file for ``generator.lora``. The saved weights are the averaged ones. The manifest
    says beside them what they were made from. A killed run resumes at its last state and ends in the same weights, on a
    CPU bit for bit; a finished one returns at once.

    Raises:
        UserError: An image cannot be read, the base does not fit, or the folder holds something else.
        GenrobustError: The loss is NaN or infinite, memory runs out, or the disk is full.
    """
    torch_device = resolve_device(device)
    set_threads(threads)
    keep_freed_memory(torch_device)
    config = resolved_here(objective.config, torch_device.type)
    objective = replace(objective, config=config)
    job = training_inputs(objective, torch_device.type, threads)

    manifest, artifact = Manifest(GENERATOR, job, made_by=made_by(GENERATOR)), Artifact(out)
    with claim_training(out, manifest) as finished:
        require_same_job(artifact.manifest().inputs, job, out, config.noun)
        if not finished:
            with explain_out_of_memory(torch_device, *_memory_advice(config)), repeatable():
                training = GeneratorTrainer(*objective.start(torch_device), config, objective.seed, out, job)
                training.resume()
                training.work()
            objective.save(out, training.averaged())
            artifact.publish(manifest)
    return out


def training_inputs(objective: Objective, device: str, threads: int) -> dict[str, Any]:
    """Return what decides the weights that `train_generator` makes, as flat JSON. Loads no weights.

    `device` is "cuda", "mps" or "cpu".

    Raises:
        UserError: The base cannot be found or trained.
    """
    base, images = objective.base, objective.images
    if base.engine != "diffusers":
        raise UserError(f"generator.engine is {base.engine}: only a generator of diffusers can be trained")
    id, folder = locate(base)
    known = {"save_every", "images"}  # the first changes no weight, and the images are named by their content
    return {
        "base": id,
        "base_sha256": hash_generator(folder, base.variant),
        "images": len(images),
        "images_fingerprint": images.fingerprint,
        **objective.inputs(),
        **resolved_here(objective.config, device).model_dump(mode="json", exclude=known),
        "seed": objective.seed,
        "device": device,
        "threads": threads,
    }


def _memory_advice(config: GeneratorTraining) -> tuple[str, str]:
    key, part_size = config.section, math.ceil(config.batch_size / config.accumulate)
    checkpointing = "" if config.gradient_checkpointing else f"turn {key}.gradient_checkpointing on, "
    lora = f"set {key}.method to lora, " if isinstance(config, FinetuneConfig) and config.method == "full" else ""
    return f"at {part_size} images at once", (
        f"raise {key}.accumulate (now {config.accumulate}), which takes the same batch in more parts, {checkpointing}"
        f"{lora}or lower {key}.batch_size, generator.width and generator.height"
    )
