"""The state of a training: who holds its folder, and what a killed training resumes from to end in the same weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from genrobust.classifiers.networks.models import save_tensors
from genrobust.core import (
    FLOAT32,
    Artifact,
    GenrobustError,
    Manifest,
    UserError,
    lock,
    make_folder,
    reading,
    remove_leftovers,
)
from genrobust.recipe import GeneratorTraining, TrainConfig

FIRST_SCALE, LEAST_SCALE = 2.0**16, 2.0**-20  # of a float16 loss; 36 steps in a row that overflow lead to the least
SAVED_EACH_S = 60.0  # what an interrupt loses at most
SAVING_SHARE = 0.02  # of the time, at most: a state of gigabytes takes seconds
ROWS = 2  # of a message that lists how two jobs differ


class LossScaler(torch.amp.GradScaler):
    """A gradient scaler that is enabled for float16 only, whose gradients underflow otherwise.

    A step whose gradients overflow is skipped, and the scale of the following steps is halved.
    """

    def __init__(self, device: torch.device, precision: str) -> None:
        super().__init__(device.type, FIRST_SCALE, enabled=precision == "float16")

    @property
    def is_hopeless(self) -> bool:
        """Whether gradients overflow at any scale. Asking synchronizes a GPU."""
        return self.is_enabled() and self.get_scale() < LEAST_SCALE


@contextmanager
def claim_training(
    out: Path, manifest: Manifest, is_main: bool = True, broadcast: Callable[[bool], bool] = bool
) -> Iterator[bool]:
    """Hold the folder `out` for the training that `manifest` describes; that of a finished one is not held.

    Args:
        out: The folder; it is made where it is missing.
        is_main: Whether this process writes to `out`. Of processes that train together, exactly one does.
        broadcast: Returns the main process's value in each of the processes that train together.

    Yields:
        Whether a finished training lies in `out`, for the caller to check that it is the same one.

    Raises:
        UserError: Another process writes to `out`, or it holds other files.
        GenrobustError: The folder cannot be made, or not be written to.
    """
    make_folder(out)
    artifact = Artifact(out)
    if broadcast(artifact.fetch().is_finished):
        if is_main:
            artifact.clean()
        yield True
        return
    with lock(out) if is_main else nullcontext():
        if is_main:
            remove_leftovers(out, below=True)
            artifact.begin(manifest)
        yield broadcast(artifact.is_finished)  # another process may have finished before this one got the lock


def require_same_job(saved: Mapping[str, Any], job: Mapping[str, Any], out: Path, noun: str) -> None:
    """Raise UserError, with the first differences, where the job `saved` in the folder `out` is not `job`."""
    rows = [f"  {k}: there {saved.get(k)}, asked for {value}" for k, value in job.items() if saved.get(k) != value]
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
        """The state of a training that begins now.

        Args:
            folder: The folder of the training, held by `claim_training`.
            job: What decides the trained weights, as flat JSON. A state of another job is refused.
            noun: What is trained, for messages: "classifier".
        """
        self.folder, self._job, self._noun = folder, job, noun
        self._optimizer, self._scaler = optimizer, scaler
        self._saved_step: int | None = None
        self._saved_at, self._saving_s = time.monotonic(), 0.0

    def is_due(self, step: int, every: int | None) -> bool:
        """Return whether to save at `step`: each minute, or less often where saving takes long, or `every` so many."""
        if every is not None:
            return step % every == 0
        return time.monotonic() - self._saved_at > max(SAVED_EACH_S, self._saving_s / SAVING_SHARE)

    def save(self, progress: Mapping[str, Any], **groups: Mapping[str, Tensor]) -> None:
        """Replace the saved state.

        Args:
            progress: Where the training stands, as JSON; `step` is the number of steps done.
            **groups: The tensors that the next step depends on beside the optimizer's, such as ``model=...``.
        """
        began = time.monotonic()
        states = self._optimizer.state_dict()["state"].items()
        optimizer = {f"{index}.{name}": v for index, moments in states for name, v in moments.items() if v is not None}
        tensors = {
            f"{group}.{k}": v for group, named in {**groups, "optimizer": optimizer}.items() for k, v in named.items()
        }
        name = f"state-{progress['step']:06d}.safetensors"
        save_tensors(self.folder / name, tensors)
        about = {"job": self._job, "progress": progress, "scaler": self._scaler.state_dict()}
        Artifact(self.folder).keep([name], about)
        self._saved_step, self._saved_at = progress["step"], time.monotonic()
        self._saving_s = self._saved_at - began

    def load(self, is_main: bool = True) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]] | None:
        """Load the saved state's optimizer and scaler, and return its progress and groups; None where none is saved.

        The main process also removes states that a killed one did not get to record or to remove. Tensors are mapped
        from the file: memory is taken for what is copied from them.

        Raises:
            UserError: The state is another job's.
            GenrobustError: The file is damaged.
        """
        artifact = Artifact(self.folder).fetch()
        if not artifact.is_begun:
            return None  # this process of several does not see the folder of the main one
        about, files = (manifest := artifact.manifest()).about, manifest.files
        if is_main:
            for path in self.folder.glob("state-*.safetensors"):
                if path.name not in files:
                    artifact.discard(path.name)
        if "progress" not in about:
            return None
        require_same_job(about["job"], self._job, self.folder, self._noun)
        groups: dict[str, dict[str, Tensor]] = {}
        (name,) = files
        path = artifact.path(name)
        with reading(path, SafetensorError, KeyError, TypeError, ValueError, kind=GenrobustError):
            self._scaler.load_state_dict(about["scaler"])
            with safe_open(path, framework="pt") as file:
                for key in file.keys():  # noqa: SIM118 (no mapping)
                    group, _, tensor = key.partition(".")
                    groups.setdefault(group, {})[tensor] = file.get_tensor(key)
        self._saved_step = about["progress"]["step"]
        self._restore_optimizer(groups.pop("optimizer", {}))
        return about["progress"], groups

    def _restore_optimizer(self, saved: Mapping[str, Tensor]) -> None:
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        for name, value in saved.items():
            index, _, key = name.partition(".")
            parameter = parameters[int(index)]
            # moments take their parameter's memory layout: in another one sums could round differently
            moment = torch.empty_like(parameter) if value.shape == parameter.shape else torch.empty_like(value)
            self._optimizer.state[parameter][key] = moment.to(parameter.device).copy_(value)

    def diverged(self, problem: str, step: int, config: TrainConfig | GeneratorTraining) -> GenrobustError:
        """Return the error of a training at whose `step` something is no number: `problem`, as in "the loss is nan"."""
        key = "train" if isinstance(config, TrainConfig) else config.section
        warmup = "warmup_steps" if config.warmup_steps is not None else "warmup_epochs"
        saved = (
            "No state was saved yet" if self._saved_step is None else f"The state of step {self._saved_step} is kept"
        )
        precise = "" if config.precision == FLOAT32 else f", or set {key}.precision to float32"
        return GenrobustError(
            f"{problem}, at step {step} in {self.folder}: lower {key}.learning_rate (now {config.learning_rate:g}), or "
            f"lengthen {key}.{warmup} (now {getattr(config, warmup)}){precise}. {saved}"
        )
