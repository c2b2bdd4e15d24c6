"""The one training loop: any timm classifier on any mixture, resumable at any step to the same weights."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.utils import ModelEmaV3
from torch import Tensor
from torch.nn import functional as F

from genrobust.classifiers import (
    Classifier,
    Initial,
    LossScaler,
    TrainingState,
    checkpoint_manifest,
    claim_training,
    predict_logits,
    read_checkpoint_info,
    require_same_job,
    resolved_here,
    saved_steps,
)
from genrobust.core import (
    GenrobustError,
    ImageSet,
    LabelSpace,
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
from genrobust.train.augment import border_color, make_augment
from genrobust.train.compiling import compile_networks, explain_compilation
from genrobust.train.embedding import KeptFeatures
from genrobust.train.finished import Progress, Watch, save_trained
from genrobust.train.learner import make_learner, make_optimizer, norm_state
from genrobust.train.mixture import Mixture
from genrobust.train.probe import fit_probe
from genrobust.train.probing import train_probe
from genrobust.train.start import copy_weights, first_network, merge_lora
from genrobust.train.team import ALONE, Team

NOUN = "classifier"
RUN = "hash of settings, images, classes and threads"
LOWEST = 1e-4  # of the peak's learning rate, at the first step of a linear schedule
LOOK_EVERY = 10  # steps between looks at the loss: a look makes a GPU wait


def train(
    mixture: Mixture,
    val: ImageSet,
    labels: LabelSpace,
    config: TrainConfig,
    seed: int,
    out: Path,
    device: str = "auto",
    threads: int = 2,
    watch: Watch = lambda step, figures: None,
    team: Team = ALONE,
    initial: Initial | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> Path:
    """Train a classifier in the folder `out`, which is then a checkpoint, and return it.

    A killed training resumes from its last state and ends in the same weights, bit for bit on the same machine; by
    rounding on a GPU with attention, blur pooling or compilation, where a backward pass sums in any order.

    Args:
        val: What the best averaged weights are chosen on, by top-1, the later of equals; none for ``keep: last``.
        watch: Called every tenth step or so, and before a state is saved, with the number of steps done, and `loss`,
            `learning_rate` and, after a validation, `val_top1` in percent.
        team: The processes that train this classifier together, each from its rows of every batch, with augmentations
            and batch-norm statistics of its own, as in plain DDP. The main one alone validates, saves and watches.
        initial: The network that `config.init` names; `config` has its architecture.
        inputs: What `out` is named after, if after anything.

    Raises:
        UserError: `val` is empty and needed, or `out` holds another training.
        GenrobustError: The loss or the weights diverge, or a saved state cannot be read.
    """
    if len(val) == 0 and config.keep == "best":
        raise UserError(f"{val.name} is empty, and the best checkpoint is chosen on it: set train.keep: last")
    with _prepared(device, threads) as where:
        config = resolved_here(config, where.type)
        job = _job(mixture, val, labels, config, seed, threads, initial)
        manifest, broadcast = checkpoint_manifest(inputs or {}), partial(team.broadcast, device=where)
        with repeatable(), claim_training(out, manifest, team.is_main, broadcast) as finished:
            how = mixture, val, labels, config, seed, out, where, watch
            if not finished and config.probes != "only":
                _Run(*how, team, job, initial).to_end()
            elif not finished and team.is_main:
                train_probe(*how, job[RUN], initial, KeptFeatures(out, job[RUN], NOUN))
            elif team.is_main:
                _require_same(out, job)
    return out


@contextmanager
def _prepared(device: str, threads: int) -> Iterator[torch.device]:
    """Set this process up for a training in the block, which gets the device."""
    set_threads(threads)
    chosen = resolve_device(device)
    keep_freed_memory(chosen)
    yield chosen
    if chosen.type == "cuda":
        gc.collect()  # compiled networks and DDP's are circles, which would keep their memory until it runs out


def _job(
    mixture: Mixture,
    val: ImageSet,
    labels: LabelSpace,
    config: TrainConfig,
    seed: int,
    threads: int,
    initial: Initial | None,
) -> dict[str, Any]:
    """Return what decides the weights: the settings, for messages, and a hash of them and of all else."""
    unused = {"save_every", "init"}  # the latter names weights, whose hash counts
    inputs = {
        "config": config.model_dump(exclude=unused),
        "seed": seed,
        "classes": labels.ids,
        "mixture": mixture.fingerprint,
        "val": val.fingerprint,
        "threads": threads,
        **({} if initial is None else {"initial": initial.identity}),
    }
    return {**config.model_dump(mode="json", exclude=unused), "seed": seed, RUN: digest(inputs)}


def _require_same(out: Path, job: Mapping[str, Any]) -> None:
    training = read_checkpoint_info(out).training
    found = {**training.get("config", {}), "seed": training.get("seed"), RUN: training.get("run")}
    require_same_job(found, job, out, NOUN)


@dataclass
class _Run:
    """One training run: model, average, optimizer, the best weights so far, and where it stands."""

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

    def __post_init__(self) -> None:
        config, mixture = self.config, self.mixture
        self.steps, self.warmup = config.steps_for(len(mixture)), config.warmup_for(len(mixture))
        learner = make_learner(mixture, self._first(), len(self.labels), config, self.team.rows)
        self.model, self.twin = learner.model, learner.twin
        self.ema = ModelEmaV3(self.model, decay=config.ema_decay, use_warmup=True)
        self.scaler = LossScaler(self.device, config.precision)
        self.optimizer = make_optimizer(learner, config, self.scaler)
        compile_networks(learner, config)
        self.learner = self.team.wrap_ddp(learner)
        self.state = TrainingState(self.out, self.job, NOUN, self.optimizer, self.scaler)
        self.best: dict[str, Tensor] = {}
        self.progress = Progress()
        self.augment = make_augment(config, border_color(mixture.batch(self.seed, 0)[0]))

    def _first(self) -> Classifier:
        """The network of the first step. What it starts from is kept, if that was learned elsewhere."""
        config = self.config
        model = first_network(self.labels, config, self.seed, self.device, self.initial)
        if config.probes == "first" and not saved_steps(self.out):  # else all of it is loaded
            kept = KeptFeatures(self.out, self.job[RUN], NOUN) if self.team.is_main else None
            fit_probe(model, self.mixture, self.val, config, self.device, kept)
        self.before = None if self.initial is None else copy_weights(model)
        config.prepare(model)
        return model

    def to_end(self) -> None:
        """Take the steps that are left, and save the checkpoint."""
        self.resume()
        self.work()
        if self.team.is_main:
            self.finish()

    def work(self) -> None:
        """Take the steps that are left, with a bar on a terminal."""
        total, start = self.steps, self.progress.step
        bar = progress_bar("training", total, "images", start, each=self.mixture.batch_size)
        note = None
        read = feed(map(self._read, range(start, total)), self.device)
        with bar as shown, closing(read) as batches, explain_compilation(self.config):
            for step, (images, targets) in enumerate(batches, start):
                loss = self._step(step, images, targets)
                self.progress.step = done = step + 1
                saves = done % self.config.save_every == 0 and done != total
                validates = done % self.config.validate_every == 0 or done == total
                if validates or saves or done % LOOK_EVERY == 0:
                    note = self._look(loss, validates)
                shown.advance(note=note)
                if saves and self.team.is_main:
                    self.save()

    def _read(self, step: int) -> tuple[Tensor, Tensor]:
        return self.mixture.batch(self.seed, step, self.config.size_at(step, self.steps), self.team.rows)

    def _step(self, step: int, images: Tensor, targets: Tensor) -> Tensor:
        # augmentation and dropout depend on the step alone, and on the process of a team
        torch.manual_seed(hashed_seed(self.seed, "step", step, *self.team.seed_suffix))
        self.learner.train()
        for group in self.optimizer.param_groups:
            rate = learning_rate(self.config, step, self.steps, self.warmup)
            group["lr"] = rate * group.get("lr_scale", 1)
        logits, targets = self.learner(self.augment(images.to(self.device)), targets.to(self.device))
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=self.config.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.team.is_main:
            self.ema.update(self.model, step=step + 1)
        return loss.detach()

    def _look(self, loss: Tensor, validates: bool) -> str:
        """Check the loss, validate, and call `watch`; returns the loss and accuracy in words."""
        value, done = float(self.team.mean(loss)), self.progress.step
        if not math.isfinite(value):
            raise self.state.diverged(f"the loss is {value}", done, self.config)
        if self.scaler.is_hopeless:
            raise self.state.diverged("the gradients overflow at any scale of the loss", done, self.config)
        if self.team.is_main:
            rate = learning_rate(self.config, done - 1, self.steps, self.warmup)
            figures = {"loss": value, "learning_rate": rate}
            if validates:
                figures |= self._validate(value)
            self.watch(done, figures)
        history = self.progress.history
        return f"loss {value:.3f}" + (f"  val {history[-1]['val_top1']:.1f} %" if history else "")

    def _validate(self, loss: float) -> dict[str, float]:
        """Keep the averaged weights where they are the best or last; returns their top-1 if there are images for it."""
        config, progress = self.config, self.progress
        self._require_finite()
        top1 = self._top1() if len(self.val) else None
        if top1 is not None:
            progress.history = [*progress.history, {"step": progress.step, "loss": loss, "val_top1": top1}]
        best = progress.best_top1
        if config.keep == "last" or (top1 is not None and best is not None and top1 >= best):
            progress.best_top1, progress.best_step = top1, progress.step
            self.best = {k: v.detach().clone() for k, v in self.ema.module.state_dict().items()}
        return {} if top1 is None else {"val_top1": top1}

    def _top1(self) -> float:
        config = self.config
        how = config.image_size, 2 * config.batch_size, self.device, self.mixture.interpolation
        logits = predict_logits(self.ema.module, self.val, *how)
        if not np.isfinite(logits).all():
            what = "logits of the validation images are NaN or infinite"
            raise self.state.diverged(what, self.progress.step, config)
        return 100 * float(np.mean(logits.argmax(axis=1) == self.val.labels))

    def _require_finite(self) -> None:
        """Raise GenrobustError for weights or statistics that are no numbers: the last loss may not show them yet."""
        networks = [("averaged ", self.ema.module), ("", self.model), *([("twin's ", self.twin)] if self.twin else [])]
        for which, network in networks:
            for name, tensor in network.state_dict().items():
                if not bool(tensor.isfinite().all()):
                    what = f"the {which}{name} is NaN or infinite"
                    raise self.state.diverged(what, self.progress.step, self.config)

    def save(self) -> None:
        """Save everything that the next step depends on."""
        self._require_finite()
        twin = {} if self.twin is None else norm_state(self.twin)
        ema, before = self.ema.module.state_dict(), self.before or {}
        groups = {"model": self.model.state_dict(), "twin": twin, "ema": ema, "best": self.best, "before": before}
        self.state.save(vars(self.progress), **groups)

    def resume(self) -> None:
        """Load the saved state, if any; raises UserError for another job's, GenrobustError for a damaged one."""
        if (saved := self.state.load(self.team.is_main)) is not None:
            progress, groups = saved
            self.progress = Progress(**progress)
            self.model.load_state_dict(groups["model"])
            self.ema.module.load_state_dict(groups["ema"])
            if self.twin is not None:
                self.twin.load_state_dict({**self.model.state_dict(), **groups["twin"]})
            self.best = groups.get("best", {})
            if self.before is not None:
                self.before = {name: tensor.clone() for name, tensor in groups["before"].items()}
        step = self.team.broadcast(self.progress.step, self.device)
        if step != self.progress.step:
            raise GenrobustError(
                f"{self.out} is at step {self.progress.step} on one node and at step {step} on another: "
                "choose an --out on a disk that all nodes share"
            )

    def finish(self) -> None:
        """Save the best weights as a checkpoint."""
        self.ema.module.load_state_dict(self.best)
        merge_lora(self.ema.module)
        model, progress = self.ema.module, self.progress
        how = self.mixture, self.labels, self.config, self.seed, self.job[RUN], progress
        save_trained(self.out, model, *how, initial=self.before)


def learning_rate(config: TrainConfig, step: int, steps: int, warmup: int) -> float:
    """Return the rate at `step` (from 0) of `steps`, of which `warmup` raise it; after the last it would be zero.

    With ``schedule: linear`` the first step has a ten-thousandth of the peak's rate, as FFCV's "cyclic" has.
    """
    peak, decayed = config.learning_rate, (step - warmup) / max(1, steps - warmup)
    if config.schedule == "linear":
        return peak * (LOWEST + (1 - LOWEST) * step / warmup if step < warmup else 1 - decayed)
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * decayed))
