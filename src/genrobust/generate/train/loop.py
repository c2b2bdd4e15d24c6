"""The training loop of diffusion models: resumable at any step to the same weights, and done once a folder."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from genrobust.classifiers import LossScaler, autocast, save_tensors
from genrobust.core import GenrobustError, fetch, hashed_seed, lock, make_folder, progress_bar, remove, remove_leftovers
from genrobust.generate.memory import is_out_of_memory
from genrobust.generate.train.objective import Examples, Model, Schedule, losses
from genrobust.generate.train.tuned import STATE, is_finished, is_trained, require_same, save_record
from genrobust.recipe import DiffusionTraining, FinetuneConfig

FORMAT = 1  # of the record beside the weights
VERSIONS = ("genrobust", "torch", "diffusers", "transformers", "peft")
CLIP = 1.0  # the largest norm of a gradient, as in diffusers' own training scripts
BETAS = (0.9, 0.99)  # a shorter memory of squared gradients than torch's 0.999: there are few steps
LOOK_EVERY = 10  # steps between looks at the loss: a look makes a GPU wait


class Training:
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
        self.device, self.state, self.job = model.device, out / STATE, job
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.average = EMAModel(self.parameters, decay=config.ema_decay, foreach=True) if config.ema_decay else None
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, betas=BETAS, weight_decay=config.weight_decay, fused=True
        )
        self.scaler = LossScaler(self.device, config.precision)
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
            config, step = self.config, self.step + 2 - len(seen) + first  # counted from 1
            kept = f"The state of step {saved} is kept" if (saved := self._saved_step()) else "No state was saved yet"
            key = config.section
            raise GenrobustError(
                f"the loss is {float(seen[first, 0])}, its gradient {float(seen[first, 1])}, at step {step} in "
                f"{self.state.parent}: lower {key}.learning_rate (now {config.learning_rate:g}), lengthen "
                f"{key}.warmup_steps (now {config.warmup_steps}), or set {key}.precision to float32. {kept}"
            )
        return float(seen[:, 0].mean())

    # ------------------------------------------------------------------------------------------- state

    def save(self) -> None:
        """Write everything that the next step depends on, as one file that appears whole or not at all."""
        tensors: dict[str, Tensor] = {}
        for index, parameter in enumerate(self.parameters):
            kept = {"weight": parameter, **self._of(index)}
            tensors |= {f"{index}.{name}": value for name, value in kept.items()}
        # Not accelerate's save_state: it pickles.
        about = {"job": json.dumps(self.job), "step": str(self.step), "scaler": json.dumps(self.scaler.state)}
        save_tensors(self.state, tensors, about)

    def resume(self) -> None:
        """Load the state where there is one; raises UserError where it belongs to another training."""
        if not self.state.exists():
            return
        try:
            with safe_open(self.state, framework="pt") as file:
                about = file.metadata()
                require_same(json.loads(about["job"]), self.job, self.state.parent, self.config)
                self.step = int(about["step"])
                self.scaler.restore(json.loads(about.get("scaler", "{}")))
                self._restore(file)
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            raise GenrobustError(f"cannot read {self.state}: {error}; delete it to train from the start") from error

    @torch.no_grad()
    def _restore(self, file: Any) -> None:
        for index, parameter in enumerate(self.parameters):
            parameter.copy_(file.get_tensor(f"{index}.weight"))
            moments = {name: torch.empty_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            # in their parameter's memory layout: in another one sums could round differently
            self.optimizer.state[parameter] = {"step": torch.tensor(0.0, device=self.device), **moments}
            for name, value in self._of(index).items():
                value.copy_(file.get_tensor(f"{index}.{name}"))
        self.optimizer.param_groups[0]["initial_lr"] = self.config.learning_rate  # which get_scheduler asks for
        if self.average is not None:
            self.average.optimization_step = self.step

    def _of(self, index: int) -> dict[str, Tensor]:
        """What belongs to parameter `index`: the optimizer's moments and step, and the average."""
        average = {} if self.average is None else {"average": self.average.shadow_params[index]}
        return {**self.optimizer.state[self.parameters[index]], **average}

    def _saved_step(self) -> int:
        if not self.state.exists():
            return 0
        with safe_open(self.state, framework="pt") as file:
            return int(file.metadata()["step"])

    @torch.no_grad()
    def averaged(self) -> Model:
        """The model with its averaged weights, which is what is saved; the run cannot go on in it."""
        if self.average is not None:
            self.average.copy_to(self.parameters)
        return self.model


Begun = TypeVar("Begun", bound=Training)


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
    make_folder(out)
    with lock(out, shared=is_trained(out, config)):  # what is finished may be taken by many at once
        if is_finished(out, job, config):
            remove(out / STATE)  # of a run that was killed between its last two lines
            return out
        remove_leftovers(out, below=True)
        fetch(out, STATE)
        with _memory_explained(config, device):
            training = begin()
            training.resume()
            training.work()
            training.averaged()
        save(training)
        versions = {f"{name}_version": metadata.version(name) for name in VERSIONS}
        save_record(out, {"format": FORMAT, **job, **versions}, config)
        remove(out / STATE)
    return out


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
