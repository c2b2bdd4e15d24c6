"""The one training loop: any timm classifier on any mixture, resumable at any moment to the same weights."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn import functional as F

from genrobust.classifiers import (
    CheckpointInfo,
    LossScaler,
    create_classifier,
    fetch_checkpoint,
    has_fixed_size,
    is_checkpoint,
    move_to,
    predict_logits,
    read_checkpoint_info,
    resolved_here,
    save_checkpoint,
    save_tensors,
)
from genrobust.core import (
    GenrobustError,
    ImageSet,
    LabelSpace,
    UserError,
    digest,
    fetch,
    hashed_seed,
    lock,
    make_folder,
    progress_bar,
    remove,
    remove_leftovers,
    resolve_device,
    set_threads,
)
from genrobust.recipe import TrainConfig
from genrobust.train import split_norm
from genrobust.train.augment import border_colour, make_augment, make_mix
from genrobust.train.learner import Learner
from genrobust.train.mixture import Mixture
from genrobust.train.team import ALONE, Team

Watch = Callable[[int, Mapping[str, float]], None]

STATE = "state.safetensors"
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
) -> Path:
    """Train a classifier and return `out`, then a checkpoint folder (see `models.load_checkpoint`).

    The averaged weights are validated every `validate_every` steps and after the last; the best by top-1 on `val` are
    kept, the later of equals. A killed run goes on from its last state and ends in the same weights bit for bit on the
    same machine; a finished one returns at once. `watch` is told the figures of every tenth step or so (`loss`,
    `learning_rate`, and `val_top1` in percent where it was validated), and before a state is saved those of its step.
    Where a `team` trains together, each process learns from its rows of every batch, with augmentations of its own and
    batch norms over those rows, as in plain DDP; the leader alone validates, writes and is watched. A killed run of as
    many goes on from the same state. Raises UserError where `out` holds another run or `val` no images, GenrobustError
    where the loss is no number.
    """
    if len(val) == 0:
        raise UserError(f"the validation set {val.name} is empty: the best checkpoint is chosen on it")
    set_threads(threads)
    where = resolve_device(device)
    config = resolved_here(config, where.type)
    job = {
        "config": config.model_dump(exclude={"save_every"}),
        "seed": seed,
        "classes": labels.ids,
        "mixture": mixture.fingerprint,
        "val": val.fingerprint,
        "threads": threads,
    }
    run_id = digest(job)
    make_folder(out)
    fetch_checkpoint(out)
    # what is finished may be taken by many at once
    with lock(out, shared=is_checkpoint(out)) if team.leads else nullcontext():
        fetch_checkpoint(out)  # of another machine that held it until now
        if team.of_leader(is_checkpoint(out), where):
            if team.leads:
                _require_same(read_checkpoint_info(out).training.get("run"), run_id, out)
                remove(out / STATE)  # of a run that was killed between its last two lines
            return out
        if team.leads:
            remove_leftovers(out)
        fetch(out, STATE)
        run = _Run(mixture, val, labels, config, seed, out, where, run_id, watch, team)
        run.resume()
        run.work()
        if team.leads:
            run.finish()
    return out


@dataclass
class _Progress:
    """What a state file carries beside tensors. `history` holds one entry a validation: step, loss, top-1 percent."""

    run: str
    step: int = 0
    best_step: int = 0
    best_top1: float = -1.0
    history: list[dict[str, float]] = field(default_factory=list)


class _Run:
    """One training run: model, average, optimizer, the best weights so far, and where it stands.

    Where the batch norms are split, `twin` learns beside `model`, from what is not real (see `split_norm`).
    """

    def __init__(
        self,
        mixture: Mixture,
        val: ImageSet,
        labels: LabelSpace,
        config: TrainConfig,
        seed: int,
        out: Path,
        device: torch.device,
        run_id: str,
        watch: Watch,
        team: Team,
    ) -> None:
        self.mixture, self.val, self.labels, self.config = mixture, val, labels, config
        self.seed, self.device, self.steps = seed, device, config.steps_for(len(mixture))
        self.state_file, self.watch, self.team = out / STATE, watch, team
        torch.backends.cudnn.deterministic = True  # its fastest convolutions sum in no fixed order
        if config.start_size is not None and has_fixed_size(config.architecture):
            raise UserError(f"train.start_size: {config.architecture} takes images of one size alone: leave it out")
        torch.manual_seed(hashed_seed(seed, "weights"))
        model = create_classifier(config.architecture, len(labels), config.image_size, config.model_kwargs)
        self.model = move_to(model, device)
        self.ema = ModelEmaV3(self.model, decay=config.ema_decay, use_warmup=True)
        self.twin = split_norm.twin_of(self.model) if config.split_batchnorm else None
        shares: list[tuple[nn.Module, slice | Tensor]] = [(self.model, slice(None))]  # who learns from which rows
        if self.twin is not None:
            real = split_norm.real_rows(mixture, config, team.rows)
            of_either = (mask.nonzero()[:, 0].to(device) for mask in (real, ~real))  # a mask would make a GPU wait
            shares = list(zip((self.model, self.twin), of_either, strict=True))
        learner = Learner(shares, make_mix(config, len(labels)), config.precision)
        self.optimizer = create_optimizer_v2(
            learner.networks,
            opt=config.optimizer,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            fused=True,  # a quarter of the time of torch's default on a CPU
        )
        self.learner = team.spread(learner)
        self.scaler = LossScaler(device, config.precision)
        if self.scaler.is_enabled() and config.optimizer == "sgd":
            # Zeros change no step. torch leaves what it makes at a first step that is skipped without any value.
            for parameter in learner.parameters():
                self.optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        self.best: dict[str, Tensor] = {}
        self.progress = _Progress(run_id)
        self.augment = make_augment(config, border_colour(mixture.batch(seed, 0)[0]))

    # ------------------------------------------------------------------------------------------- steps

    def work(self) -> None:
        """Take the steps that are left, with a bar on a terminal."""
        total, start, value = self.steps, self.progress.step, math.nan
        bar = progress_bar("training", total, "images", start, each=self.mixture.batch_size)
        with bar as shown, ThreadPoolExecutor(1) as reader:  # the next batch is read while this one is learned
            ahead = reader.submit(self._read, start)
            for step in range(start, total):
                images, targets = ahead.result()
                if step + 1 < total:
                    ahead = reader.submit(self._read, step + 1)
                loss = self._step(step, images, targets)
                done = step + 1
                self.progress.step = done
                validates = done % self.config.validate_every == 0 or done == total
                saves = done % self.config.save_every == 0 and done != total
                if validates or saves or done % LOOK_EVERY == 0:
                    value = self._look(loss, done)
                    if self.team.leads:
                        figures = {"loss": value, "learning_rate": learning_rate(self.config, step, total)}
                        if validates:
                            figures["val_top1"] = self._validate(value)
                        self.watch(done, figures)
                shown.advance(note=self._note(value))
                if saves and self.team.leads:
                    self.save()

    def _read(self, step: int) -> tuple[Tensor, Tensor]:
        return self.mixture.batch(self.seed, step, self.config.size_at(step, self.steps), self.team.rows)

    def _step(self, step: int, images: Tensor, targets: Tensor) -> Tensor:
        # augmentation, dropout: a function of the step alone, and of who draws them
        torch.manual_seed(hashed_seed(self.seed, "step", step, *self.team.draws))
        self.learner.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, step, self.steps)
        logits, targets = self.learner(self.augment(images.to(self.device)), targets.to(self.device))
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=self.config.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.team.leads:
            self.ema.update(self.model, step=step + 1)
        return loss.detach()

    def _look(self, loss: Tensor, done: int) -> float:
        value = float(self.team.mean(loss))
        if not math.isfinite(value):
            raise GenrobustError(
                f"the loss is {value} at step {done} of {self.state_file.parent.name}: lower train.learning_rate "
                f"(now {self.config.learning_rate:g}), lengthen train.warmup_steps (now {self.config.warmup_steps}), "
                "or set train.precision to float32. The last saved state is untouched"
            )
        if self.scaler.is_hopeless:
            raise GenrobustError(
                f"the gradients are no numbers at step {done} of {self.state_file.parent.name}, at any scale of the "
                "loss: set train.precision to float32. The last saved state is untouched"
            )
        return value

    def _note(self, loss: float) -> str:
        history = self.progress.history
        words = [] if math.isnan(loss) else [f"loss {loss:.3f}"]
        return "  ".join([*words, f"val {history[-1]['val_top1']:.1f} %"] if history else words)

    def _validate(self, loss: float) -> float:
        logits = predict_logits(
            self.ema.module, self.val, self.config.image_size, 2 * self.config.batch_size, self.device
        )
        top1 = 100 * float(np.mean(logits.argmax(axis=1) == self.val.labels))
        progress = self.progress
        progress.history = [*progress.history, {"step": progress.step, "loss": loss, "val_top1": top1}]
        if top1 >= progress.best_top1:
            progress.best_top1, progress.best_step = top1, progress.step
            self.best = {k: v.detach().clone() for k, v in self.ema.module.state_dict().items()}
        return top1

    # ------------------------------------------------------------------------------------------- state

    def save(self) -> None:
        """Write everything that the next step depends on, as one file that appears whole or not at all."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.ema.module.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        if self.twin is not None:
            tensors |= {f"twin.{k}": v for k, v in split_norm.norm_state(self.twin).items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v for k, v in moments.items() if v is not None}
        about = {"progress": json.dumps(vars(self.progress)), "scaler": json.dumps(self.scaler.state)}
        save_tensors(self.state_file, tensors, about)

    def resume(self) -> None:
        """Load the state where there is one; raises UserError where it belongs to another run.

        Raises GenrobustError where the leader of a team finds another state.
        """
        if self.state_file.exists():
            self._load()
        leaders = self.team.of_leader(self.progress.step, self.device)
        if leaders != self.progress.step:
            raise GenrobustError(
                f"{self.state_file} is of step {self.progress.step} on one node and of step {leaders} on another: "
                "choose an --out on a disk that all nodes share"
            )

    def _load(self) -> None:
        try:
            with safe_open(self.state_file, "pt") as file:
                about = file.metadata()
                progress = _Progress(**json.loads(about["progress"]))
                _require_same(progress.run, self.progress.run, self.state_file.parent)
                self.scaler.restore(json.loads(about.get("scaler", "{}")))
                tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 (no mapping)
        except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            raise GenrobustError(
                f"cannot read {self.state_file}: {error}; delete it to train from the start"
            ) from error
        self.model.load_state_dict(_under(tensors, "model."))
        if self.twin is not None:
            self.twin.load_state_dict({**self.model.state_dict(), **_under(tensors, "twin.")})
        self.ema.module.load_state_dict(_under(tensors, "ema."))
        self.best = _under(tensors, "best.")
        self._restore_moments(_under(tensors, "optimizer."))
        self.progress = progress

    def _restore_moments(self, saved: dict[str, Tensor]) -> None:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        for name, value in saved.items():
            index, _, key = name.partition(".")
            parameter = parameters[int(index)]
            # moments take their parameter's memory layout: in another one sums could round differently
            moment = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
            self.optimizer.state[parameter][key] = moment.to(parameter.device)

    def finish(self) -> None:
        """Write the best weights as a checkpoint, and let go of the state."""
        self.ema.module.load_state_dict(self.best)
        config, progress = self.config, self.progress
        info = CheckpointInfo(
            architecture=config.architecture,
            model_kwargs=config.model_kwargs,
            classes=self.labels.ids,
            image_size=config.image_size,
            training={
                "run": progress.run,
                "seed": self.seed,
                "steps": self.steps,
                "config": config.model_dump(),
                "counts": self.mixture.counts,
                "best_step": progress.best_step,
                "best_val_top1": progress.best_top1,
                "history": progress.history,
            },
        )
        save_checkpoint(self.state_file.parent, self.ema.module, info)
        remove(self.state_file)


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """The rate at `step` (from 0) of `steps`: linear warm-up, then half a cosine to zero after the last step."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    left = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * left))


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _require_same(found: Any, wanted: str, folder: Path) -> None:
    if found != wanted:
        raise UserError(
            f"{folder} holds another training run (other settings, images or seed): "
            "choose another output folder, or delete this one"
        )
