"""Trains a diffusion model on real images. A killed training resumes at its last saved state, to the same weights."""

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
    UserError,
    hashed_seed,
    keep_freed_memory,
    progress_bar,
    repeatable,
    resolve_device,
    set_threads,
)
from genrobust.generate.find_models import GENERATOR
from genrobust.generate.generator_files import hash_generator
from genrobust.generate.library_errors import explain_out_of_memory
from genrobust.generate.mode import locate
from genrobust.generate.train.objective import Model, Objective, losses
from genrobust.recipe import GeneratorTraining
from genrobust.store import Artifact, Manifest, made_by

# Largest norm of a gradient, as in diffusers' own training scripts.
MAX_NORM = 1.0
# torch's default for the second is 0.999, a longer memory of squared gradients than a short training needs.
BETAS = (0.9, 0.99)
WEIGHT_DECAY = 0.01
# Check the loss after so many steps: a check makes a GPU wait.
LOOK_EVERY = 10


def train_generator(objective: Objective, out: Path, device: str = "auto", threads: int = 2) -> Path:
    """Train the model of `objective` into the folder `out`, and return that folder.

    It becomes a diffusers folder for ``generator.model``: the base with another UNet, or a DiTPipeline; or, for a LoRA,
    a folder with a safetensors file for ``generator.lora``. The saved weights are the averaged ones. The manifest lists
    everything that they depend on. A killed run resumes at its last state and ends in the same weights, bit for bit on
    a CPU. A finished one returns at once.

    Raises:
        UserError: An image cannot be read, the base does not fit, or the folder holds something else.
        GenrobustError: The loss is NaN or infinite, memory runs out, or the disk is full.
    """
    torch_device = resolve_device(device)
    set_threads(threads)
    keep_freed_memory(torch_device)
    config = objective.config
    job = training_inputs(objective, torch_device.type, threads)

    artifact = Artifact(out)
    makers = made_by(train_generator, type(objective), *objective.images.decoders)
    manifest = Manifest(GENERATOR, job, made_by=makers)
    with claim_training(out, manifest) as is_finished:
        require_same_job(artifact.manifest().inputs, job, out, config.noun)
        if not is_finished:
            work, remedy = _memory_advice(config)
            with explain_out_of_memory(torch_device, work, remedy), repeatable():
                trainer = GeneratorTrainer(objective, torch_device, out, job)
                trainer.resume()
                trainer.train()
            objective.save(out, trainer.averaged())
            artifact.publish(manifest)
    return out


def training_inputs(objective: Objective, device: str, threads: int) -> dict[str, Any]:
    """Return everything that decides the weights of `train_generator`, as flat JSON. Loads no weights."""
    base, images = objective.base, objective.images
    if base.engine != "diffusers":
        raise UserError(f"generator.engine is {base.engine}: only a generator of diffusers can be trained")
    id, folder = locate(base)
    # `save_every` changes no weight, and the images are named by their content.
    known = {"save_every", "images"}
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
    """Return what takes memory, and which keys to change."""
    section = config.section
    images = math.ceil(config.batch_size / config.accumulate)
    if getattr(config, "method", "") == "full":
        to_lora = "set finetune.method to lora, "
    else:
        to_lora = ""
    remedy = (
        f"raise {section}.accumulate, which takes the same batch in more parts, turn {section}.gradient_checkpointing "
        f"on, {to_lora}or lower {section}.batch_size, generator.width and generator.height"
    )
    return f"at {images} images at once", remedy


class GeneratorTrainer:
    """One training of a generator.

    Attributes:
        model: Its parameters with gradients are trained.
        average: Their moving average; None without.
        step: Number of finished steps.
    """

    def __init__(self, objective: Objective, device: torch.device, out: Path, job: dict[str, Any]) -> None:
        """Load the base and prepare the first step. `job` is everything that decides the weights."""
        self.config: GeneratorTraining = objective.config
        self.seed, self.device = objective.seed, device
        self.model, self.schedule, self.examples = objective.start(device)
        _prepare_model(self.model, self.config)
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.average: EMAModel | None = None
        if self.config.ema_decay:
            self.average = EMAModel(self.parameters, decay=self.config.ema_decay, foreach=True)
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=self.config.learning_rate, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True
        )
        self.scaler = LossScaler(self.device, self.config.precision)
        self.state = TrainingState(out, job, self.config.noun, self.optimizer, self.scaler)
        self.step = 0

    def train(self) -> None:
        """Take the remaining steps, with a progress bar on a terminal."""
        config = self.config
        rates = get_scheduler(
            "cosine",
            self.optimizer,
            num_warmup_steps=config.warmup_steps,
            num_training_steps=config.steps,
            last_epoch=self.step - 1,
        )
        first = self.step
        unchecked: list[Tensor] = []
        with progress_bar(f"training the {config.noun}", config.steps, "images", first, config.batch_size) as bar:
            while self.step < config.steps:
                unchecked.append(self.compute_gradient(self.step))
                is_saved = self.step > first and self.state.is_due(self.step, config.save_every)
                note = None
                if is_saved or self.step % LOOK_EVERY == 0 or self.step + 1 == config.steps:
                    loss = self._check(torch.stack(unchecked))
                    note = f"loss {loss:.4f}"
                    unchecked = []
                if is_saved:
                    # Before the update: the loss of these weights has just been found finite, so the state is good.
                    self.save()
                self.update()
                rates.step()
                self.step += 1
                bar.advance(note=note)
        self.save()

    def compute_gradient(self, step: int) -> Tensor:
        """Compute the gradient of step `step`. Returns the loss and the norm of the gradient, [2], on the device."""
        config = self.config
        batch = self.examples.batch(self.seed, step)
        torch.manual_seed(hashed_seed(self.seed, "dropout", step))
        loss = torch.zeros((), device=self.device)
        for part in batch.parts(config.accumulate, self.device):
            with autocast(self.device, config.precision):
                share = losses(self.schedule, self.model, part).sum() / config.batch_size
            self.scaler.scale(share).backward()
            loss += share.detach()
        self.scaler.unscale_(self.optimizer)
        norm = clip_grad_norm_(self.parameters, MAX_NORM)
        return torch.stack([loss, norm])

    def update(self) -> None:
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.step(self.parameters)

    def _check(self, stats: Tensor) -> float:
        """Return the mean loss of the last steps. `stats` [n, 2] has the loss and the norm of the gradient of each.

        A float16 gradient that overflows is skipped by the loss scaler, so it is an error only if all scales overflow.
        """
        stats = stats.cpu()
        is_finite = stats.isfinite()
        if self.scaler.is_enabled() and not self.scaler.is_hopeless:
            is_finite = is_finite[:, :1]
        if not is_finite.all():
            first = int((~is_finite.all(1)).nonzero()[0])
            loss, norm = stats[first].tolist()
            # The last row belongs to step self.step; messages count from 1.
            number = self.step + 2 - len(stats) + first
            raise self.state.diverged(f"the loss is {loss}, its gradient {norm}", number, self.config)
        return float(stats[:, 0].mean())

    def save(self) -> None:
        weights = [*self.parameters, *self._averages()]
        if not all(bool(weight.isfinite().all()) for weight in weights):
            raise self.state.diverged("weights are NaN or infinite", self.step, self.config)
        self.state.save({"step": self.step}, model=_by_number(self.parameters), average=_by_number(self._averages()))

    @torch.no_grad()
    def resume(self) -> None:
        saved = self.state.load()
        if saved is None:
            return
        progress, weights = saved
        self.step = progress["step"]
        # get_scheduler requires this key to start at a later step.
        self.optimizer.param_groups[0]["initial_lr"] = self.config.learning_rate
        _restore(self.parameters, weights.get("model", {}))
        _restore(self._averages(), weights.get("average", {}))
        if self.average is not None:
            self.average.optimization_step = self.step

    def _averages(self) -> list[Tensor]:
        return [] if self.average is None else self.average.shadow_params

    @torch.no_grad()
    def averaged(self) -> Model:
        """Return the model with its averaged weights. Training cannot continue afterwards."""
        if self.average is not None:
            self.average.copy_to(self.parameters)
        return self.model


def _prepare_model(model: Model, config: GeneratorTraining) -> None:
    """Choose the memory layout and the attention that train fastest on the model's device."""
    is_cpu = model.device.type == "cpu"
    if not is_cpu:
        # On a CPU, a small U-Net trains more slowly with channels last in float32, and no faster in bfloat16.
        model.to(memory_format=torch.channels_last)
    for part in model.modules():
        if is_cpu and isinstance(part, Attention):
            # With few tokens, the backward pass of the CPU's fused attention takes longer.
            part.set_processor(AttnProcessor())
    if config.gradient_checkpointing:
        model.enable_gradient_checkpointing()


def _by_number(tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    return {str(number): tensor for number, tensor in enumerate(tensors)}


def _restore(tensors: Sequence[Tensor], saved: dict[str, Tensor]) -> None:
    for number, tensor in enumerate(tensors):
        tensor.copy_(saved[str(number)])
