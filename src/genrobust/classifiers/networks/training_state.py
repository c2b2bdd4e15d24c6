"""The saved state of a training, from which a killed training resumes, and the lock of its folder."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from genrobust.classifiers.networks.classifier_network import save_tensors
from genrobust.core import FLOAT32, GenrobustError, UserError, reading
from genrobust.recipe import GeneratorTraining, TrainConfig
from genrobust.store import Artifact, Manifest, lock, make_folder, remove_leftovers

# Scales of a float16 loss: 36 steps in a row that overflow lead from the first to the least.
FIRST_SCALE = 2.0**16
LEAST_SCALE = 2.0**-20
SAVED_EACH_S = 60.0  # an interrupt loses at most this much
SAVING_SHARE = 0.02  # of the time, at most: a state of gigabytes takes seconds
OPTIMIZER = "optimizer"  # the group of the optimizer's tensors
ROWS = 2  # differences between two jobs in a message


class LossScaler(torch.amp.GradScaler):
    """A gradient scaler that is enabled for float16 only, whose gradients underflow otherwise.

    A step whose gradients overflow is skipped, and the scale of the following steps is halved.
    """

    def __init__(self, device: torch.device, precision: str) -> None:
        super().__init__(device.type, FIRST_SCALE, enabled=precision == "float16")

    @property
    def is_hopeless(self) -> bool:
        """Whether gradients overflow at any scale. Reading it synchronizes a GPU."""
        return self.is_enabled() and self.get_scale() < LEAST_SCALE


@contextmanager
def claim_training(out: Path, manifest: Manifest) -> Iterator[bool]:
    """Lock the folder `out` for the training that `manifest` describes. Do nothing if the training is finished.

    Yields:
        Whether `out` holds a finished training. The caller checks that it is the same one.
    """
    make_folder(out)
    artifact = Artifact(out)
    if artifact.fetch().is_finished:
        artifact.clean()
        yield True
        return
    with lock(out):
        remove_leftovers(out, below=True)
        artifact.begin(manifest)
        # Another process may have finished before this one got the lock.
        yield artifact.is_finished


def require_same_job(saved: Mapping[str, Any], job: Mapping[str, Any], out: Path, noun: str) -> None:
    """Raise UserError, with the first differences, if the job `saved` in the folder `out` is not `job`."""
    rows = []
    for key, value in job.items():
        if saved.get(key) != value:
            rows.append(f"  {key}: there {saved.get(key)}, asked for {value}")
    if rows:
        headline = f"{out} holds another {noun}: choose another folder, or delete that one"
        raise UserError("\n".join([headline, *rows[:ROWS]]))


class TrainingState:
    """The state of one training in its folder: weights, optimizer, loss scaler and progress, kept until it is finished.

    Not accelerate's `save_state`, which pickles.
    """

    def __init__(
        self,
        folder: Path,
        job: Mapping[str, Any],
        noun: str,
        optimizer: torch.optim.Optimizer,
        scaler: LossScaler,
    ) -> None:
        """Begin with nothing saved.

        Args:
            folder: The folder of the training, locked by `claim_training`.
            job: Everything that decides the trained weights, as flat JSON. A state of another job is refused.
            noun: The kind of model in messages, such as "classifier".
        """
        self.folder = folder
        self._job = job
        self._noun = noun
        self._optimizer = optimizer
        self._scaler = scaler
        self._saved_step: int | None = None
        self._saved_at = time.monotonic()
        self._saving_s = 0.0

    def is_due(self, step: int, every: int | None) -> bool:
        """Return whether to save at `step`: after each `every` steps, or each minute, or less often if that is slow."""
        if every is not None:
            return step % every == 0
        return time.monotonic() - self._saved_at > max(SAVED_EACH_S, self._saving_s / SAVING_SHARE)

    def save(self, progress: Mapping[str, Any], **groups: Mapping[str, Tensor]) -> None:
        """Replace the saved state. ``progress["step"]`` is the number of steps done.

        `groups` are the tensors that the next step depends on, except for the optimizer's, such as ``model=...``.
        """
        began = time.monotonic()
        tensors: dict[str, Tensor] = {}
        for group, named in groups.items():
            for key, value in named.items():
                tensors[f"{group}.{key}"] = value
        for index, moments in self._optimizer.state_dict()["state"].items():
            for key, value in moments.items():
                if value is not None:
                    tensors[f"{OPTIMIZER}.{index}.{key}"] = value
        name = f"state-{progress['step']:06d}.safetensors"
        save_tensors(self.folder / name, tensors)
        about = {"job": self._job, "progress": progress, "scaler": self._scaler.state_dict()}
        Artifact(self.folder).keep([name], about)
        self._saved_step, self._saved_at = progress["step"], time.monotonic()
        self._saving_s = self._saved_at - began

    def load(self) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]] | None:
        """Restore the optimizer and the scaler, and return the saved progress and groups. None if nothing is saved.

        Also removes states that a killed process neither recorded nor removed. Tensors are mapped from the file, and
        only copies of them take memory.
        """
        artifact = Artifact(self.folder).fetch()
        manifest = artifact.manifest()
        about = manifest.about
        for path in self.folder.glob("state-*.safetensors"):
            if path.name not in manifest.files:
                artifact.discard(path.name)
        if "progress" not in about:
            return None
        require_same_job(about["job"], self._job, self.folder, self._noun)
        groups: dict[str, dict[str, Tensor]] = {}
        (name,) = manifest.files
        path = artifact.path(name)
        with reading(path, SafetensorError, KeyError, TypeError, ValueError, kind=GenrobustError):
            self._scaler.load_state_dict(about["scaler"])
            with safe_open(path, framework="pt") as file:
                for key in file.keys():  # noqa: SIM118 (no mapping)
                    group, _, tensor = key.partition(".")
                    groups.setdefault(group, {})[tensor] = file.get_tensor(key)
        self._saved_step = about["progress"]["step"]
        self._restore_optimizer(groups.pop(OPTIMIZER, {}))
        return about["progress"], groups

    def _restore_optimizer(self, saved: Mapping[str, Tensor]) -> None:
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        for name, value in saved.items():
            index, _, key = name.partition(".")
            parameter = parameters[int(index)]
            # Moments take their parameter's memory layout: in another one, sums could round differently.
            if value.shape == parameter.shape:
                moment = torch.empty_like(parameter)
            else:
                moment = torch.empty_like(value)
            self._optimizer.state[parameter][key] = moment.to(parameter.device).copy_(value)

    def diverged(self, problem: str, step: int, config: TrainConfig | GeneratorTraining) -> GenrobustError:
        """Return the error of a training that diverged at `step`. `problem` says how, as in "the loss is nan"."""
        key = "train" if isinstance(config, TrainConfig) else config.section
        warmup = "warmup_steps" if config.warmup_steps is not None else "warmup_epochs"
        saved = "No state was saved yet"
        if self._saved_step is not None:
            saved = f"The state of step {self._saved_step} is kept"
        if config.precision == FLOAT32:
            precise = ""
        else:
            precise = f", or set {key}.precision to float32"
        return GenrobustError(
            f"{problem}, at step {step} in {self.folder}: lower {key}.learning_rate (now {config.learning_rate:g}), or "
            f"lengthen {key}.{warmup} (now {getattr(config, warmup)}){precise}. {saved}"
        )
