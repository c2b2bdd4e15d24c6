"""The training loop of classifiers: a killed training resumes at its last saved state, to the same weights."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch
from timm.utils import ModelEmaV3
from torch import Tensor
from torch.nn import functional as F

from genrobust.classifiers import (
    LossScaler,
    TrainingState,
    autocast,
    batch_norms,
    checkpoint_manifest,
    claim_training,
    has_fixed_size,
    resolved_here,
    saved_steps,
    val_top1,
)
from genrobust.core import (
    UserError,
    feed,
    hashed_seed,
    keep_freed_memory,
    progress_bar,
    repeatable,
    resolve_device,
    set_threads,
)
from genrobust.recipe import TrainConfig
from genrobust.store import PARTS, KeptParts, Maker
from genrobust.train.batch_augmentation import border_color, make_augment, make_mix
from genrobust.train.optimizer import compile_network, explain_compilation, make_optimizer
from genrobust.train.probe import Probe, fit_probe
from genrobust.train.training_job import NOUN, RUN, Progress, TrainingJob, save_trained

# A linear schedule starts at this share of the peak learning rate, like FFCV's "cyclic" schedule.
LINEAR_START = 1e-4
# Check the loss after so many steps: a check makes a GPU wait.
LOOK_EVERY = 10
# Called with the number of finished steps, and metrics by name.
Watch = Callable[[int, Mapping[str, float]], None]


def watch_nothing(step: int, metrics: Mapping[str, float]) -> None:
    """Ignore the metrics."""


def train(job: TrainingJob, watch: Watch = watch_nothing) -> Path:
    """Train a classifier, save it as a checkpoint in the folder `job.out`, and return that folder.

    A killed training resumes from its last saved state and ends in the same weights, bit for bit on the same machine.
    On a GPU, weights differ by rounding with attention, blur pooling, compilation, or adaptive pooling to several
    places (AlexNet): there, the order of sums in a backward pass is not fixed.

    Args:
        watch: Called about every tenth step, and before a state is saved, with the number of finished steps and with
            `loss`, `learning_rate` and, after a validation, `val_top1` in percent.

    Raises:
        UserError: `job.val` is empty although ``keep: best`` needs it, or `job.out` holds another training.
        GenrobustError: The loss or a weight is NaN or infinite, or a saved state cannot be read.
    """
    if len(job.val) == 0 and job.config.keep == "best":
        raise UserError(f"{job.val.name} is empty, and the best checkpoint is chosen on it: set train.keep: last")
    device = resolve_device(job.device)
    set_threads(job.threads)
    keep_freed_memory(device)
    job = replace(job, config=resolved_here(job.config.effective, device.type))

    manifest = checkpoint_manifest(job.inputs, *_makers(job))
    with repeatable(), claim_training(job.out, manifest) as is_finished:
        if is_finished:
            job.require_same_training()
        else:
            Training(job, device, watch).run()
    if device.type == "cuda":
        # Compiled networks hold reference cycles, which would keep GPU memory.
        gc.collect()
    return job.out


def _makers(job: TrainingJob) -> list[Maker]:
    """List the code that decides the weights. Registries import settings and augmentations by name."""
    settings = [type(job.config), type(job.config.augmentation)]
    initial = () if job.initial is None else job.initial.opened.all_makers
    return [train, *settings, *initial, *job.mixture.decoders, *job.val.decoders]


class Training:
    """One training of `job` on `device`."""

    def __init__(self, job: TrainingJob, device: torch.device, watch: Watch = watch_nothing) -> None:
        self.job = job
        self.config = job.config
        self.mixture = job.mixture
        self.device = device
        self.watch = watch
        self.description = job.describe()
        self.steps = job.steps
        self.warmup = job.config.warmup_for(len(job.mixture))
        self.progress = Progress()
        self.model = job.make_network(device)
        # Validation top-1 of the linear probe of LP-FT in percent: a first result, shown until the first validation.
        self.probe_top1: float | None = None

    def run(self) -> None:
        """Train and save the classifier."""
        if self.config.probes == "only":
            self.train_probe()
        else:
            self.train()

    def train_probe(self) -> None:
        """Fit a linear probe of a pretrained network and save it. A killed process resumes with its kept features."""
        probe = self.fit_probe()
        metrics = {"loss": probe.loss}
        if probe.val_top1 is not None:
            metrics["val_top1"] = probe.val_top1
            self.progress.history.append({"step": self.steps, **metrics})
        self.progress.step = self.progress.best_step = self.steps
        self.progress.best_top1 = probe.val_top1
        self.watch(self.steps, metrics)
        save_trained(self.job, self.model, self.progress, penalty=probe.penalty)

    def fit_probe(self) -> Probe:
        """Replace the last layer by a linear probe. The features are kept until it is fitted."""
        parts = KeptParts(self.job.out / PARTS, self.description[RUN])
        return fit_probe(self.model, self.mixture, self.job.val, self.config, self.device, parts)

    def train(self) -> None:
        """Train all steps that remain, and save the best weights as a checkpoint."""
        self.prepare()
        self.resume()
        first = self.progress.step
        batches = feed(map(self.read_batch, range(first, self.steps)), self.device)
        bar = progress_bar("training", self.steps, "images", first, each=self.mixture.batch_size)
        note = self.describe_validation()
        with bar as shown, closing(batches), explain_compilation(self.config):
            for step, (images, labels) in enumerate(batches, first):
                loss = self.train_step(step, images, labels)
                self.progress.step = step + 1
                is_checked = self.is_checked(step + 1)
                if is_checked:
                    note = self.check_and_validate(loss)
                shown.advance(note=note)
                if is_checked and self.is_saved(step + 1):
                    self.save()
        self.average.module.load_state_dict(self.best)
        save_trained(self.job, self.average.module, self.progress, self.initial_weights)

    def prepare(self) -> None:
        """Create the weight average, the optimizer and the augmentations. Fit the linear probe of LP-FT."""
        config = self.config
        if config.start_size is not None and has_fixed_size(config.architecture):
            raise UserError(f"train.start_size: {config.architecture} takes images of one size only: leave it out")
        # If a state is saved, `resume` loads all weights.
        if config.probes == "first" and not saved_steps(self.job.out):
            self.probe_top1 = self.fit_probe().val_top1
        # The pretrained weights, in main memory: saved with the trained ones, for WiSE-FT.
        self.initial_weights: dict[str, Tensor] = {}
        if self.job.initial is not None:
            for name, weight in self.model.state_dict().items():
                self.initial_weights[name] = weight.detach().to("cpu", copy=True)
        config.prepare(self.model)
        self.average = ModelEmaV3(self.model, decay=config.ema_decay, use_warmup=True)
        self.best: dict[str, Tensor] = {}
        self.scaler = LossScaler(self.device, config.precision)
        self.optimizer = make_optimizer(self.model, config, self.scaler)
        compile_network(self.model, config)
        self.state = TrainingState(self.job.out, self.description, NOUN, self.optimizer, self.scaler)
        first_images, _ = self.mixture.batch(self.job.seed, 0)
        self.augment = make_augment(config, border_color(first_images))
        self.mix = make_mix(config, len(self.job.labels))

    def read_batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Read a batch: images uint8 [B, 3, S, S], labels int64 [B]."""
        size = self.config.size_at(step, self.steps)
        return self.mixture.batch(self.job.seed, step, size)

    def train_step(self, step: int, images: Tensor, labels: Tensor) -> Tensor:
        """Train one step on a batch, and return the loss, a scalar on the device."""
        # Augmentation and dropout depend only on the seed and the step.
        torch.manual_seed(hashed_seed(self.job.seed, "step", step))
        self.model.train()
        if self.config.freeze_batch_norm:
            for norm in batch_norms(self.model):
                norm.eval()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, step, self.steps, self.warmup)

        images = self.augment(images.to(self.device))
        images, targets = self.mix(images, labels.to(self.device))
        images = images.contiguous(memory_format=torch.channels_last)
        with autocast(self.device, self.config.precision):
            logits = self.model(images)
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=self.config.label_smoothing)

        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update(self.model, step=step + 1)
        return loss.detach()

    def is_validated(self, done: int) -> bool:
        return done % self.config.validate_every == 0 or done == self.steps

    def is_checked(self, done: int) -> bool:
        """Whether to check the loss after `done` steps: regularly, and before a validation or a saved state."""
        saves = done % (self.config.save_every or LOOK_EVERY) == 0
        return saves or done % LOOK_EVERY == 0 or self.is_validated(done)

    def is_saved(self, done: int) -> bool:
        return done != self.steps and self.state.is_due(done, self.config.save_every)

    def check_and_validate(self, loss: Tensor) -> str:
        """Check the loss, validate if due, and call `watch`. Returns a note for the progress bar.

        Raises:
            GenrobustError: The loss is NaN or infinite, or gradients overflow at every scale of the loss.
        """
        done = self.progress.step
        mean_loss = float(loss)
        if not math.isfinite(mean_loss):
            raise self.state.diverged(f"the loss is {mean_loss}", done, self.config)
        if self.scaler.is_hopeless:
            raise self.state.diverged("the gradients overflow at any scale of the loss", done, self.config)
        rate = learning_rate(self.config, done - 1, self.steps, self.warmup)
        metrics = {"loss": mean_loss, "learning_rate": rate}
        if self.is_validated(done):
            metrics |= self.validate(mean_loss)
        self.watch(done, metrics)
        return f"loss {mean_loss:.3f}  {self.describe_validation()}".rstrip()

    def describe_validation(self) -> str:
        """Describe the last validation, or before the first one the linear probe's. "" without any."""
        if self.progress.history:
            return f"val {self.progress.history[-1]['val_top1']:.1f} %"
        if self.probe_top1 is not None:
            return f"linear probe: val {self.probe_top1:.1f} %"
        return ""

    def validate(self, loss: float) -> dict[str, float]:
        """Validate the averaged weights, and keep them in `best` as `keep` says.

        Returns:
            `val_top1` in percent; nothing without validation images.
        """
        config = self.config
        progress = self.progress
        self._require_finite_weights()
        # Twice the training batch: without gradients, a batch takes less memory.
        top1 = val_top1(
            self.average.module,
            self.job.val,
            config.image_size,
            2 * config.batch_size,
            self.device,
            self.mixture.interpolation,
        )
        if config.keep == "last":
            is_kept = progress.step == self.steps
        else:
            # `train` refuses an empty set.
            assert top1 is not None and progress.best_top1 is not None
            is_kept = top1 >= progress.best_top1
        if is_kept:
            progress.best_step, progress.best_top1 = progress.step, top1
            for name, weight in self.average.module.state_dict().items():
                self.best[name] = weight.detach().clone()
        if top1 is None:
            return {}
        progress.history.append({"step": progress.step, "loss": loss, "val_top1": top1})
        return {"val_top1": top1}

    def _require_finite_weights(self) -> None:
        """Raise GenrobustError if a weight or statistic is NaN or infinite: the loss may not show it yet."""
        for prefix, network in (("averaged ", self.average.module), ("", self.model)):
            for name, tensor in network.state_dict().items():
                if not bool(tensor.isfinite().all()):
                    problem = f"the {prefix}{name} is NaN or infinite"
                    raise self.state.diverged(problem, self.progress.step, self.config)

    def save(self) -> None:
        self._require_finite_weights()
        self.state.save(
            vars(self.progress),
            model=self.model.state_dict(),
            ema=self.average.module.state_dict(),
            best=self.best,
            before=self.initial_weights,
        )

    def resume(self) -> None:
        """Load the saved state, if there is one.

        Raises:
            UserError: The state belongs to another training.
            GenrobustError: The state is damaged.
        """
        saved = self.state.load()
        if saved is None:
            return
        progress, weights = saved
        self.progress = Progress(**progress)
        self.model.load_state_dict(weights["model"])
        self.average.module.load_state_dict(weights["ema"])
        # A group without tensors is not in the file.
        self.best = weights.get("best", {})
        self.initial_weights = weights.get("before", {})


def learning_rate(config: TrainConfig, step: int, steps: int, warmup: int) -> float:
    """Return the learning rate at `step`, counted from 0.

    It rises for `warmup` steps, then decays to zero at the end of `steps`: by half a cosine, or linearly with
    ``schedule: linear``.
    """
    peak = config.learning_rate
    decayed = (step - warmup) / max(1, steps - warmup)
    if config.schedule == "linear":
        if step < warmup:
            return peak * (LINEAR_START + (1 - LINEAR_START) * step / warmup)
        return peak * (1 - decayed)
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * decayed))
