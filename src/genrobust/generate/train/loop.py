"""The training loop of diffusion models: resumable at any step to the same weights, and done once a folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from genrobust.classifiers import LossScaler, TrainingState, autocast, claim_training
from genrobust.core import GenrobustError, hashed_seed, progress_bar
from genrobust.generate.memory import is_out_of_memory
from genrobust.generate.train.objective import Examples, Model, Schedule, losses
from genrobust.generate.train.tuned import check_folder, is_trained, save_record
from genrobust.recipe import DiffusionTraining, FinetuneConfig

FORMAT = 1  # of the record beside the weights
VERSIONS = ("genrobust", "torch", "diffusers", "transformers", "peft")
CLIP = 1.0  # the largest norm of a gradient, as in diffusers' own training scripts
BETAS = (0.9, 0.99)  # a shorter memory of squared gradients than torch's 0.999: there are few steps
LOOK_EVERY = 10  # steps between looks at the loss: a look makes a GPU wait


class DiffusionTrainer:
    """One training: the model, whose parameters with gradients learn, their average, the optimizer, where it stands."""

    def __init__(
        self,
        model: Model,
        schedule: Schedule,
        examples: Examples,
        config: DiffusionTraining,
        seed: int,
        out: Path,
        job: dict[str, Any],
    ) -> None:
        torch.backends.cudnn.deterministic = True  # its fastest convolutions sum in no fixed order
        self.model, self.schedule, self.examples, self.config, self.seed = model, schedule, examples, config, seed
        self.device = model.device
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.average = EMAModel(self.parameters, decay=config.ema_decay, foreach=True) if config.ema_decay else None
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, betas=BETAS, weight_decay=config.weight_decay, fused=True
        )
        self.scaler = LossScaler(self.device, config.precision)
        self.state = TrainingState(out, job, config.noun, self.optimizer, self.scaler)
        self.step = 0

    # ------------------------------------------------------------------------------------------- steps

    def work(self) -> None:
        """Take the steps that are left, with a bar on a terminal."""
        config, unseen = self.config, []
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
                unseen.append(self._gradient(self.step))
                saves = self.step > start and self.step % config.save_every == 0
                note = None
                if saves or self.step % LOOK_EVERY == 0 or self.step + 1 == config.steps:
                    note = f"loss {self._look(torch.stack(unseen)):.4f}"
                    unseen = []
                if saves:  # only now that the loss after it is known to be a number: a saved state is a good one
                    self.save()
                self._update()
                rates.step()
                self.step += 1
                bar.advance(note=note)
        self.save()

    def _gradient(self, step: int) -> Tensor:
        """Compute the gradient of step `step`; returns the loss and the gradient's norm, [2], on the device."""
        config = self.config
        batch = self.examples.batch(self.seed, step)
        torch.manual_seed(hashed_seed(self.seed, "dropout", step))  # of a model that has any
        loss = torch.zeros((), device=self.device)
        for part in batch.parts(config.accumulate, self.device):
            with autocast(self.device, config.precision):
                share = losses(self.model, self.schedule, part, config.min_snr).sum() / config.batch_size
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

    def _look(self, unseen: Tensor) -> float:
        """The mean loss of the last steps; raises GenrobustError where a loss or gradient of theirs is no number.

        A gradient of float16 that overflows is none of these, unless it does so at any scale: its step is skipped.
        """
        seen = unseen.cpu()
        finite = seen.isfinite()
        if self.scaler.is_enabled() and not self.scaler.is_hopeless:
            finite = finite[:, :1]
        if not finite.all():
            first = int((~finite.all(1)).nonzero()[0])
            what = f"the loss is {float(seen[first, 0])}, its gradient {float(seen[first, 1])}"
            raise self.state.diverged(what, self.step + 2 - len(seen) + first, self.config)  # counted from 1
        return float(seen[:, 0].mean())

    # ------------------------------------------------------------------------------------------- state

    def save(self) -> None:
        """Save everything that the next step depends on."""
        self.state.save({"step": self.step}, model=_numbered(self.parameters), average=_numbered(self._averages))

    @torch.no_grad()
    def resume(self) -> None:
        """Load the saved state, if there is one. Raises as `TrainingState.load` does."""
        if (saved := self.state.load()) is None:
            return
        progress, groups = saved
        self.step = progress["step"]
        self.optimizer.param_groups[0]["initial_lr"] = self.config.learning_rate  # which get_scheduler asks for
        for name, own in (("model", self.parameters), ("average", self._averages)):
            for index, tensor in enumerate(own):
                tensor.copy_(groups[name][str(index)])
        if self.average is not None:
            self.average.optimization_step = self.step

    @property
    def _averages(self) -> list[Tensor]:
        return [] if self.average is None else self.average.shadow_params

    @torch.no_grad()
    def averaged(self) -> Model:
        """The model with its averaged weights, which is what is saved; the run cannot go on in it."""
        if self.average is not None:
            self.average.copy_to(self.parameters)
        return self.model


Begun = TypeVar("Begun", bound=DiffusionTrainer)


def prepared(model: Model, config: DiffusionTraining) -> None:
    """Put `model` into the memory layout, and give it the attention, that train fastest on its device."""
    model.to(memory_format=torch.channels_last)
    for part in model.modules():
        if isinstance(part, Attention) and model.device.type == "cpu":
            part.set_processor(AttnProcessor())  # on few tokens the CPU's fused attention takes longer to go backward
    if config.gradient_checkpointing:
        model.enable_gradient_checkpointing()


def train_once(
    out: Path,
    job: dict[str, Any],
    config: DiffusionTraining,
    device: torch.device,
    begin: Callable[[], Begun],
    save: Callable[[Begun], None],
) -> Path:
    """Train what `begin` sets up and `save` writes into the folder `out`, unless what `job` describes is there.

    A killed run goes on from its last state. The record of the job and of the versions is written last. Raises
    UserError where `out` holds something else, GenrobustError where the loss is no number, memory or the disk is full.
    """
    with claim_training(out, lambda: is_trained(out, config)) as finished:
        check_folder(out, job, config)
        if not finished:
            with _memory_explained(config, device):
                training = begin()
                training.resume()
                training.work()
                training.averaged()
            save(training)
            versions = {f"{name}_version": metadata.version(name) for name in VERSIONS}
            save_record(out, {"format": FORMAT, **job, **versions}, config)
    return out


def _numbered(tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    return {str(index): tensor for index, tensor in enumerate(tensors)}


@contextmanager
def _memory_explained(config: DiffusionTraining, device: torch.device) -> Iterator[None]:
    """Turn running out of memory into GenrobustError that says what takes less."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        key, each = config.section, math.ceil(config.batch_size / config.accumulate)
        checkpointing = "" if config.gradient_checkpointing else f"turn {key}.gradient_checkpointing on, "
        full = isinstance(config, FinetuneConfig) and config.method == "full"
        lora = f"set {key}.method to lora, " if full else ""
        raise GenrobustError(
            f"out of memory on {device} at {each} images at once: raise {key}.accumulate (now {config.accumulate}), "
            f"which takes the same batch in more parts, {checkpointing}{lora}or lower {key}.batch_size, "
            "generator.width and generator.height"
        ) from error
