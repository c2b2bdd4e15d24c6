"""The training loop of classifiers: a killed training resumes at its last saved state, to the same weights."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import Tensor
from torch.nn import functional as F

from genrobust.classifiers import (
    CheckpointInfo,
    Classifier,
    Initial,
    LossScaler,
    TrainingImages,
    TrainingState,
    autocast,
    checkpoint_manifest,
    claim_training,
    create_classifier,
    has_fixed_size,
    move_to,
    read_checkpoint_info,
    require_same_job,
    resolved_here,
    save_checkpoint,
    saved_steps,
    val_top1,
)
from genrobust.core import (
    PARTS,
    GenrobustError,
    ImageSet,
    KeptParts,
    LabelSpace,
    Maker,
    UserError,
    digest,
    feed,
    hashed_seed,
    keep_freed_memory,
    progress_bar,
    repeatable,
    resolve_device,
    set_threads,
)
from genrobust.recipe import TrainConfig
from genrobust.train.augment import border_color, make_augment, make_mix
from genrobust.train.mixture import Mixture
from genrobust.train.optimizer import compile_network, explain_compilation, make_optimizer
from genrobust.train.probe import Probed, fit_probe
from genrobust.train.team import ALONE, Team

NOUN = "classifier"
RUN = "hash of settings, images, classes and threads"
LOWEST = 1e-4  # of the peak learning rate, at the first step of a linear schedule
LOOK_EVERY = 10  # steps between checks of the loss, each of which synchronizes a GPU
Watch = Callable[[int, Mapping[str, float]], None]  # as `train` calls it


def train(
    mixture: Mixture,
    val: ImageSet,
    labels: LabelSpace,
    config: TrainConfig,
    seed: int,
    out: Path,
    device: str = "auto",
    threads: int = 2,
    watch: Watch = lambda step, metrics: None,
    team: Team = ALONE,
    initial: Initial | None = None,
    inputs: Mapping[str, Any] | None = None,
    images: TrainingImages | None = None,
) -> Path:
    """Train a classifier, save it as a checkpoint in the folder `out`, and return `out`.

    A killed training resumes from its last saved state and ends in the same weights, bit for bit on the same machine.
    On a GPU with attention, blur pooling, compilation or adaptive pooling to several places (AlexNet) they differ by
    rounding: the order of sums in a backward pass is not fixed there.

    Args:
        val: The validation images, which may be empty. With ``keep: best``, the averaged weights with the best top-1
            on them are kept, the later ones of equals.
        watch: Called about every tenth step, and before a state is saved, with the number of steps done and with
            `loss`, `learning_rate` and, after a validation, `val_top1` in percent.
        team: The processes that train this classifier together, as in plain DDP: each takes its rows of every batch,
            with its own augmentations and batch-norm statistics. Only the main one validates, saves and calls `watch`.
        initial: The network that `config.init` names; `config` has its architecture.
        inputs: The inputs whose hash is in the name of `out`, if there is one.
        images: The record of the training images, which is saved with the weights.

    Raises:
        UserError: `val` is empty although ``keep: best`` needs it, or `out` holds another training.
        GenrobustError: The loss or a weight is NaN or infinite, or a saved state cannot be read.
    """
    if len(val) == 0 and config.keep == "best":
        raise UserError(f"{val.name} is empty, and the best checkpoint is chosen on it: set train.keep: last")
    torch_device = resolve_device(device)
    set_threads(threads)
    keep_freed_memory(torch_device)
    config = resolved_here(config.effective, torch_device.type)
    job = _job_inputs(mixture, val, labels, config, seed, threads, initial)
    # The settings and the augmentation are classes that registries import by name.
    makers: list[Maker] = [train, type(config), type(config.augmentation), *mixture.decoders, *val.decoders]
    manifest = checkpoint_manifest(inputs or {}, *makers)
    broadcast = partial(team.broadcast, device=torch_device)
    with repeatable(), claim_training(out, manifest, team.is_main, broadcast) as finished:
        settings = (mixture, val, labels, config, seed, out, torch_device, watch, team, job, initial, images)
        if not finished and config.probes == "only":
            _Training(*settings).probe()
        elif not finished:
            _Run(*settings).to_end()
        elif team.is_main:
            _require_same_training(out, job)
    if torch_device.type == "cuda":
        gc.collect()  # compiled networks and DDP hold reference cycles, which would keep their memory
    return out


def _job_inputs(
    mixture: Mixture,
    val: ImageSet,
    labels: LabelSpace,
    config: TrainConfig,
    seed: int,
    threads: int,
    initial: Initial | None,
) -> dict[str, Any]:
    """Return everything that decides the weights: the settings, for messages, and a hash of all inputs."""
    unused = {"save_every", "init"}  # of `init`, the hash of the weights counts
    inputs = {
        "config": config.model_dump(exclude=unused),
        "seed": seed,
        "classes": labels.ids,
        "mixture": mixture.fingerprint,
        "val": val.fingerprint,
        "threads": threads,
        **({} if initial is None else {"initial": initial.identity(labels)}),
    }
    return {**config.model_dump(mode="json", exclude=unused), "seed": seed, RUN: digest(inputs)}


def _require_same_training(out: Path, job: Mapping[str, Any]) -> None:
    """Raise UserError if the finished training in `out` is another one than `job`."""
    training = read_checkpoint_info(out).training
    saved_job = {**training.get("config", {}), "seed": training.get("seed"), RUN: training.get("run")}
    require_same_job(saved_job, job, out, NOUN)


@dataclass
class Progress:
    """Where a run stands. `history` holds the step, loss and top-1 (percent) of each validation.

    `best_step` is the step whose weights are kept, `best_top1` their top-1, None where there are no validation images.
    """

    step: int = 0
    best_step: int = 0
    best_top1: float | None = -1.0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass
class _Training:
    """What a training learns from, by which settings, and where it ends; a linear probe needs no more."""

    mixture: Mixture
    val: ImageSet
    labels: LabelSpace
    config: TrainConfig
    seed: int
    out: Path
    device: torch.device
    watch: Watch
    team: Team
    job: Mapping[str, Any]
    initial: Initial | None = None
    images: TrainingImages | None = None

    def probe(self) -> None:
        """Save a linear probe of a pretrained network; a killed one goes on from its features, and is solved anew."""
        model = self.first_network()
        probed = self.fit_probe(model)
        steps, top1 = self.config.steps_for(len(self.mixture)), probed.val_top1
        metrics = {"loss": probed.loss, **({} if top1 is None else {"val_top1": top1})}
        self.watch(steps, metrics)
        progress = Progress(steps, steps, top1, [] if top1 is None else [{"step": steps, **metrics}])
        self.publish(model, progress, penalty=probed.penalty)

    def first_network(self) -> Classifier:
        """Return the network that training starts from; the seed decides what of its weights is random."""
        config = self.config
        torch.manual_seed(hashed_seed(self.seed, "weights"))
        if self.initial is None:
            model = create_classifier(config.architecture, len(self.labels), config.image_size, config.network_kwargs)
        else:
            model = self.initial.make(self.labels, config)
        return move_to(model, self.device)

    def fit_probe(self, model: Classifier) -> Probed:
        """Replace the last layer of `model` by a linear probe, whose features the main process keeps meanwhile."""
        parts = KeptParts(self.out / PARTS if self.team.is_main else None, self.job[RUN])
        return fit_probe(model, self.mixture, self.val, self.config, self.device, parts)

    def publish(
        self, model: Classifier, progress: Progress, initial: Mapping[str, Tensor] | None = None, **more: float
    ) -> None:
        """Save a trained classifier as a checkpoint.

        Args:
            initial: The pretrained weights that it started from, where they are to be kept.
            **more: What else is known of its training.
        """
        config, mixture = self.config, self.mixture
        training = {
            "run": self.job[RUN],
            "seed": self.seed,
            "steps": config.steps_for(len(mixture)),
            "config": config.model_dump(),
            "counts": mixture.counts,
            "mixture": mixture.fingerprint,
            "best_step": progress.best_step,
            "best_val_top1": progress.best_top1,
            "history": progress.history,
            **more,
        }
        info = CheckpointInfo(
            config.architecture,
            config.network_kwargs,
            self.labels.label_names,
            config.image_size,
            training,
            mixture.interpolation,
            self.labels.descriptions,
        )
        save_checkpoint(self.out, model, info, initial, images=self.images)


@dataclass
class _Run(_Training):
    """One training run: the model, its averaged weights, the optimizer, the best weights so far, and the progress."""

    def __post_init__(self) -> None:
        config, mixture = self.config, self.mixture
        if config.start_size is not None and has_fixed_size(config.architecture):
            raise UserError(f"train.start_size: {config.architecture} takes images of one size alone: leave it out")
        self.steps, self.warmup = config.steps_for(len(mixture)), config.warmup_for(len(mixture))
        self.model = self.first_network()
        if config.probes == "first" and not saved_steps(self.out):  # else `resume` loads all weights
            self.fit_probe(self.model)
        self.initial_weights: dict[str, Tensor] = {}  # of a pretrained network, in main memory
        if self.initial is not None:
            self.initial_weights = {k: v.detach().to("cpu", copy=True) for k, v in self.model.state_dict().items()}
        config.prepare(self.model)
        self.ema = ModelEmaV3(self.model, decay=config.ema_decay, use_warmup=True)
        self.scaler = LossScaler(self.device, config.precision)
        self.optimizer = make_optimizer(self.model, config, self.scaler)
        compile_network(self.model, config)
        self.shared = self.team.wrap_ddp(self.model)
        self.state = TrainingState(self.out, self.job, NOUN, self.optimizer, self.scaler)
        self.best: dict[str, Tensor] = {}
        self.progress = Progress()
        self.augment = make_augment(config, border_color(mixture.batch(self.seed, 0)[0]))
        self.mix = make_mix(config, len(self.labels))

    def to_end(self) -> None:
        """Train the remaining steps, and save the best weights as a checkpoint."""
        self.resume()
        self.work()
        if self.team.is_main:
            self.ema.module.load_state_dict(self.best)
            self.publish(self.ema.module, self.progress, self.initial_weights)

    def work(self) -> None:
        """Train the remaining steps, with a progress bar on a terminal."""
        total, start = self.steps, self.progress.step
        display = progress_bar("training", total, "images", start, each=self.mixture.batch_size)
        note = None
        stream = feed(map(self._read_batch, range(start, total)), self.device)
        with display as bar, closing(stream) as batches, explain_compilation(self.config):
            for step, (images, targets) in enumerate(batches, start):
                loss = self._step(step, images, targets)
                self.progress.step = done = step + 1
                validates = done % self.config.validate_every == 0 or done == total
                looks = validates or done % LOOK_EVERY == 0 or done % (self.config.save_every or LOOK_EVERY) == 0
                if looks:
                    note = self._check_loss(loss, validates)
                bar.advance(note=note)
                if looks and done != total and self.team.is_main and self.state.is_due(done, self.config.save_every):
                    self.save()

    def _read_batch(self, step: int) -> tuple[Tensor, Tensor]:
        return self.mixture.batch(self.seed, step, self.config.size_at(step, self.steps), self.team.rows)

    def _step(self, step: int, images: Tensor, targets: Tensor) -> Tensor:
        # so augmentation and dropout depend only on the seed, the step and the process of a team
        torch.manual_seed(hashed_seed(self.seed, "step", step, *self.team.seed_suffix))
        self.shared.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, step, self.steps, self.warmup)
        images, targets = self.mix(self.augment(images.to(self.device)), targets.to(self.device))
        with autocast(self.device, self.config.precision):
            logits = self.shared(images.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=self.config.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.team.is_main:
            self.ema.update(self.model, step=step + 1)
        return loss.detach()

    def _check_loss(self, loss: Tensor, validates: bool) -> str:
        """Check the loss, validate if due, and call `watch`. Returns the loss and the accuracy for the progress bar.

        Raises:
            GenrobustError: The loss is NaN or infinite, or gradients overflow at every scale of the loss.
        """
        mean_loss, done = float(self.team.mean(loss)), self.progress.step
        if not math.isfinite(mean_loss):
            raise self.state.diverged(f"the loss is {mean_loss}", done, self.config)
        if self.scaler.is_hopeless:
            raise self.state.diverged("the gradients overflow at any scale of the loss", done, self.config)
        if self.team.is_main:
            rate = learning_rate(self.config, done - 1, self.steps, self.warmup)
            metrics = {"loss": mean_loss, "learning_rate": rate}
            if validates:
                metrics |= self._validate(mean_loss)
            self.watch(done, metrics)
        history = self.progress.history
        return f"loss {mean_loss:.3f}" + (f"  val {history[-1]['val_top1']:.1f} %" if history else "")

    def _validate(self, loss: float) -> dict[str, float]:
        """Validate the averaged weights, and keep them in `best` if none were better, or those of the last step.

        Returns:
            ``val_top1`` in percent; nothing if there are no validation images.
        """
        config, progress = self.config, self.progress
        self._require_finite_weights()
        size, batch_size = config.image_size, 2 * config.batch_size
        top1 = val_top1(self.ema.module, self.val, size, batch_size, self.device, self.mixture.interpolation)
        if top1 is not None:
            progress.history = [*progress.history, {"step": progress.step, "loss": loss, "val_top1": top1}]
        best, is_last = progress.best_top1, progress.step == self.steps
        if is_last if config.keep == "last" else (top1 is not None and best is not None and top1 >= best):
            progress.best_top1, progress.best_step = top1, progress.step
            self.best = {k: v.detach().clone() for k, v in self.ema.module.state_dict().items()}
        return {} if top1 is None else {"val_top1": top1}

    def _require_finite_weights(self) -> None:
        """Raise GenrobustError if a weight or statistic is NaN or infinite: the last loss may not show it yet."""
        for prefix, network in (("averaged ", self.ema.module), ("", self.model)):
            for name, tensor in network.state_dict().items():
                if not bool(tensor.isfinite().all()):
                    problem = f"the {prefix}{name} is NaN or infinite"
                    raise self.state.diverged(problem, self.progress.step, self.config)

    def save(self) -> None:
        """Save everything that the next step depends on."""
        self._require_finite_weights()
        groups = {
            "model": self.model.state_dict(),
            "ema": self.ema.module.state_dict(),
            "best": self.best,
            "before": self.initial_weights,
        }
        self.state.save(vars(self.progress), **groups)

    def resume(self) -> None:
        """Load the saved state, if there is one.

        Raises:
            UserError: The state is that of another training.
            GenrobustError: The state is damaged, or nodes do not share the folder.
        """
        if (saved := self.state.load(self.team.is_main)) is not None:
            progress, groups = saved
            self.progress = Progress(**progress)
            self.model.load_state_dict(groups["model"])
            self.ema.module.load_state_dict(groups["ema"])
            self.best, self.initial_weights = (groups.get(name, {}) for name in ("best", "before"))
        step = self.team.broadcast(self.progress.step, self.device)
        if step != self.progress.step:
            raise GenrobustError(
                f"{self.out} is at step {self.progress.step} on one node and at step {step} on another: "
                "choose an --out on a disk that all nodes share"
            )


def learning_rate(config: TrainConfig, step: int, steps: int, warmup: int) -> float:
    """Return the learning rate at `step`, counted from 0.

    It rises for `warmup` steps, and then decays to zero at the end of `steps`: by a cosine, or in a straight line for
    ``schedule: linear``. The linear schedule starts at a ten-thousandth of the peak, as FFCV's "cyclic" one.
    """
    peak, decayed = config.learning_rate, (step - warmup) / max(1, steps - warmup)
    if config.schedule == "linear":
        return peak * (LOWEST + (1 - LOWEST) * step / warmup if step < warmup else 1 - decayed)
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * decayed))
