"""Trains a diffusion model on real images, resumable at any step to the same weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from genrobust.classifiers import (
    LossScaler,
    TrainingState,
    autocast,
    claim_training,
    require_same_job,
)
from genrobust.core import (
    Artifact,
    Manifest,
    UserError,
    hashed_seed,
    keep_freed_memory,
    made_by,
    progress_bar,
    repeatable,
    resolve_device,
    set_threads,
)
from genrobust.generate.calls import explain_out_of_memory
from genrobust.generate.generator_files import hash_generator
from genrobust.generate.locate import GENERATOR
from genrobust.generate.mode import locate
from genrobust.generate.train.objective import Examples, Model, Objective, Schedule, losses
from genrobust.recipe import GeneratorTraining

CLIP = 1.0  # the largest norm of a gradient, as in diffusers' own training scripts
BETAS = (0.9, 0.99)  # a shorter memory of squared gradients than torch's 0.999: there are few steps
WEIGHT_DECAY = 0.01
LOOK_EVERY = 10  # steps between looks at the loss: a look makes a GPU wait


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
    config = objective.config
    job = training_inputs(objective, torch_device.type, threads)

    makers = made_by(train_generator, type(objective), *objective.images.decoders)
    manifest, artifact = Manifest(GENERATOR, job, made_by=makers), Artifact(out)
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
        **objective.config.model_dump(mode="json", exclude=known),
        "seed": objective.seed,
        "device": device,
        "threads": threads,
    }


def _memory_advice(config: GeneratorTraining) -> tuple[str, str]:
    key, part_size = config.section, math.ceil(config.batch_size / config.accumulate)
    to_lora = "set finetune.method to lora, " if getattr(config, "method", "") == "full" else ""
    return f"at {part_size} images at once", (
        f"raise {key}.accumulate, which takes the same batch in more parts, turn {key}.gradient_checkpointing on, "
        f"{to_lora}or lower {key}.batch_size, generator.width and generator.height"
    )


class GeneratorTrainer:
    """One training: the model, whose parameters with gradients learn, their average, the optimizer, where it stands."""

    def __init__(
        self,
        model: Model,
        schedule: Schedule,
        examples: Examples,
        config: GeneratorTraining,
        seed: int,
        out: Path,
        job: dict[str, Any],
    ) -> None:
        _prepare_model(model, config)
        self.model, self.schedule, self.examples, self.config, self.seed = model, schedule, examples, config, seed
        self.device = model.device
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.average = EMAModel(self.parameters, decay=config.ema_decay, foreach=True) if config.ema_decay else None
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True
        )
        self.scaler = LossScaler(self.device, config.precision)
        self.state = TrainingState(out, job, config.noun, self.optimizer, self.scaler)
        self.step = 0

    def work(self) -> None:
        """Take the remaining steps, with a progress bar on a terminal."""
        config, stats = self.config, []
        rates = get_scheduler(
            "cosine",
            self.optimizer,
            num_warmup_steps=config.warmup_steps,
            num_training_steps=config.steps,
            last_epoch=self.step - 1,
        )
        start = self.step
        with progress_bar(f"training the {config.noun}", config.steps, "images", start, config.batch_size) as bar:
            while self.step < config.steps:
                stats.append(self._gradient(self.step))
                saves = self.step > start and self.state.is_due(self.step, config.save_every)
                note = None
                if saves or self.step % LOOK_EVERY == 0 or self.step + 1 == config.steps:
                    note = f"loss {self._check_stats(torch.stack(stats)):.4f}"
                    stats = []
                if saves:  # only now that the loss after it is known to be a number: a saved state is a good one
                    self.save()
                self._update()
                rates.step()
                self.step += 1
                bar.advance(note=note)
        self.save()

    def _gradient(self, step: int) -> Tensor:
        """Compute the gradient of step `step`, and return the loss and the gradient's norm, [2], on the device."""
        config = self.config
        batch = self.examples.batch(self.seed, step)
        torch.manual_seed(hashed_seed(self.seed, "dropout", step))  # of a model that has any
        loss = torch.zeros((), device=self.device)
        for part in batch.parts(config.accumulate, self.device):
            with autocast(self.device, config.precision):
                share = losses(self.schedule, self.model, part).sum() / config.batch_size
            self.scaler.scale(share).backward()
            loss += share.detach()
        self.scaler.unscale_(self.optimizer)
        return torch.stack([loss, clip_grad_norm_(self.parameters, CLIP)])

    def _update(self) -> None:
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.step(self.parameters)

    def _check_stats(self, stats: Tensor) -> float:
        """Return the mean loss of the last steps. Raises GenrobustError where a loss or gradient is NaN or infinite.

        A gradient of float16 that overflows is none of these, unless it does so at any scale: its step is skipped.
        """
        stats = stats.cpu()
        finite = stats.isfinite()
        if self.scaler.is_enabled() and not self.scaler.is_hopeless:
            finite = finite[:, :1]
        if not finite.all():
            first = int((~finite.all(1)).nonzero()[0])
            problem = f"the loss is {float(stats[first, 0])}, its gradient {float(stats[first, 1])}"
            raise self.state.diverged(problem, self.step + 2 - len(stats) + first, self.config)  # counted from 1
        return float(stats[:, 0].mean())

    def save(self) -> None:
        """Save everything that the next step depends on.

        Raises:
            GenrobustError: A weight is NaN or infinite.
        """
        if not all(bool(tensor.isfinite().all()) for tensor in (*self.parameters, *self._averages)):
            raise self.state.diverged("weights are NaN or infinite", self.step, self.config)
        self.state.save({"step": self.step}, model=_numbered(self.parameters), average=_numbered(self._averages))

    @torch.no_grad()
    def resume(self) -> None:
        """Load the saved state, if there is one.

        Raises:
            UserError: The state is another job's.
            GenrobustError: The file is damaged.
        """
        if (saved := self.state.load()) is None:
            return
        progress, groups = saved
        self.step = progress["step"]
        self.optimizer.param_groups[0]["initial_lr"] = self.config.learning_rate  # which get_scheduler asks for
        for name, tensors in (("model", self.parameters), ("average", self._averages)):
            for index, tensor in enumerate(tensors):
                tensor.copy_(groups[name][str(index)])
        if self.average is not None:
            self.average.optimization_step = self.step

    @property
    def _averages(self) -> list[Tensor]:
        return [] if self.average is None else self.average.shadow_params

    @torch.no_grad()
    def averaged(self) -> Model:
        """Return the model with its averaged weights, which are saved; training cannot go on in it."""
        if self.average is not None:
            self.average.copy_to(self.parameters)
        return self.model


def _prepare_model(model: Model, config: GeneratorTraining) -> None:
    """Give `model` the memory layout and the attention that train fastest on its device."""
    if model.device.type != "cpu":  # where a small U-Net trains more slowly so in float32, and no faster in bfloat16
        model.to(memory_format=torch.channels_last)
    for part in model.modules():
        if isinstance(part, Attention) and model.device.type == "cpu":
            part.set_processor(AttnProcessor())  # on few tokens the CPU's fused attention takes longer to go backward
    if config.gradient_checkpointing:
        model.enable_gradient_checkpointing()


def _numbered(tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    return {str(index): tensor for index, tensor in enumerate(tensors)}
