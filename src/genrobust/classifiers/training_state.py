"""The state of a training: who holds its folder, and what a killed training resumes from to end in the same weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from genrobust.classifiers.checkpoints import STATE, UNDER_WAY, check_state, write_state
from genrobust.classifiers.models import tensor_bytes
from genrobust.core import (
    BLANK_SEAL,
    SEAL,
    GenrobustError,
    UserError,
    fetch,
    lock,
    make_folder,
    reading,
    remove,
    remove_leftovers,
)
from genrobust.recipe import DiffusionTraining, TrainConfig

FIRST_SCALE, LEAST_SCALE = 2.0**16, 2.0**-20  # of a float16 loss; 36 steps in a row that overflow lead to the least
ROWS = 2  # of a message that lists how two jobs differ


class LossScaler(torch.amp.GradScaler):
    """A gradient scaler that is enabled for float16 only, whose gradients underflow otherwise.

    A step whose gradients overflow is skipped, and the scale of the following steps is halved.
    """

    def __init__(self, device: torch.device, precision: str) -> None:
        super().__init__(device.type, FIRST_SCALE, enabled=precision == "float16")

    @property
    def state(self) -> dict[str, float]:
        """All that the next step depends on, for JSON; empty where the scaler is disabled."""
        found = self.state_dict()
        return {key: found[key] for key in ("scale", "_growth_tracker") if key in found}

    def restore(self, state: Mapping[str, float]) -> None:
        """Load the `state` of another scaler.

        Raises:
            KeyError: That scaler was disabled, and this one is not.
        """
        if self.is_enabled():
            self.load_state_dict({**self.state_dict(), **{key: state[key] for key in ("scale", "_growth_tracker")}})

    @property
    def is_hopeless(self) -> bool:
        """Whether gradients overflow at any scale. Asking synchronizes a GPU."""
        return self.is_enabled() and self.get_scale() < LEAST_SCALE


@contextmanager
def claim_training(
    out: Path,
    is_finished: Callable[[], bool],
    is_main: bool = True,
    broadcast: Callable[[bool], bool] = bool,
) -> Iterator[bool]:
    """Hold the folder `out` for one training, and remove the state of that training when the block ends well.

    Any number of processes may hold the folder of a finished training.

    Args:
        out: The folder; it is made where it is missing.
        is_finished: Fetches what other machines have of `out`, and returns whether a finished training lies there.
        is_main: Whether this process writes to `out`. Of processes that train together, exactly one does.
        broadcast: Returns the main process's value in each of the processes that train together.

    Yields:
        Whether a finished training lies in `out`, for the caller to check that it is the same one.

    Raises:
        UserError: Another process writes to `out`.
        GenrobustError: The folder cannot be made, or not be written to.
    """
    make_folder(out)
    with lock(out, shared=is_finished()) if is_main else nullcontext():
        yield broadcast(is_finished())  # asked again: another process may have finished before this one got the lock
        if is_main:
            for name in UNDER_WAY:
                remove(out / name)


def remove_finished_state(out: Path, is_finished: Callable[[], bool]) -> None:
    """Remove the state that a training left in `out` when it was killed right after it finished."""
    with claim_training(out, is_finished):
        pass


def require_same_job(found: Any, job: Mapping[str, Any], out: Path, noun: str) -> None:
    """Raise UserError where the job `found` in the folder `out` is not `job`, with the first keys that differ."""
    there = found if isinstance(found, dict) else {}
    rows = [f"  {k}: there {there.get(k)}, asked for {wanted}" for k, wanted in job.items() if there.get(k) != wanted]
    if rows:
        what = f"{out} holds another {noun}: choose another folder, or delete that one"
        raise UserError("\n".join([what, *rows[:ROWS]]))


class TrainingState:
    """One training's state in its folder: weights, optimizer, loss scaler and progress, in a file replaced atomically.

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
        self.path, self._job, self._noun = folder / STATE, job, noun
        self._optimizer, self._scaler = optimizer, scaler
        self._saved_step: int | None = None

    def save(self, progress: Mapping[str, Any], **groups: Mapping[str, Tensor]) -> None:
        """Replace the saved state.

        Args:
            progress: Where the training stands, as JSON; `step` is the number of steps done.
            **groups: The tensors that the next step depends on beside the optimizer's, such as ``model=...``.
        """
        moments = self._optimizer.state_dict()["state"].items()
        optimizer = {f"{index}.{name}": v for index, found in moments for name, v in found.items() if v is not None}
        tensors = {f"{group}.{k}": v for group, of in {**groups, "optimizer": optimizer}.items() for k, v in of.items()}
        about = {"job": self._job, "progress": progress, "scaler": self._scaler.state}
        metadata = {key: json.dumps(value) for key, value in about.items()} | {SEAL: BLANK_SEAL}
        write_state(self.path, tensor_bytes(tensors, metadata))
        self._saved_step = progress["step"]

    def load(self, is_main: bool = True) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]] | None:
        """Load the saved state's optimizer and scaler, and return its progress and groups; None where none is saved.

        The main process also removes the temporary files of a killed one. Tensors are mapped from the file: memory is
        taken for what is copied from them.

        Raises:
            UserError: The state is another job's.
            GenrobustError: The file is damaged.
        """
        folder = self.path.parent
        if is_main:
            remove_leftovers(folder, below=True)
        fetch(folder, STATE)
        if not self.path.exists():
            return None
        groups: dict[str, dict[str, Tensor]] = {}
        check_state(self.path)
        then = "; delete it to train from the start"
        with reading(self.path, SafetensorError, KeyError, TypeError, ValueError, then=then, kind=GenrobustError):
            with safe_open(self.path, framework="pt") as file:
                about = {key: json.loads(value) for key, value in file.metadata().items() if key != SEAL}
                require_same_job(about["job"], self._job, folder, self._noun)
                self._scaler.restore(about["scaler"])
                for key in file.keys():  # noqa: SIM118 (no mapping)
                    group, _, name = key.partition(".")
                    groups.setdefault(group, {})[name] = file.get_tensor(key)
            progress: dict[str, Any] = about["progress"]
            self._saved_step = progress["step"]
        self._restore_optimizer(groups.pop("optimizer", {}))
        return progress, groups

    def _restore_optimizer(self, saved: Mapping[str, Tensor]) -> None:
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        for name, value in saved.items():
            index, _, key = name.partition(".")
            parameter = parameters[int(index)]
            # moments take their parameter's memory layout: in another one sums could round differently
            moment = torch.empty_like(parameter) if value.shape == parameter.shape else torch.empty_like(value)
            self._optimizer.state[parameter][key] = moment.to(parameter.device).copy_(value)

    def diverged(self, what: str, step: int, config: TrainConfig | DiffusionTraining) -> GenrobustError:
        """Return the error of a training at whose `step` something is no number: `what`, as in "the loss is nan"."""
        key = "train" if isinstance(config, TrainConfig) else config.section
        warmup = "warmup_steps" if config.warmup_steps is not None else "warmup_epochs"
        kept = "No state was saved yet" if self._saved_step is None else f"The state of step {self._saved_step} is kept"
        return GenrobustError(
            f"{what}, at step {step} in {self.path.parent}: lower {key}.learning_rate (now {config.learning_rate:g}), "
            f"lengthen {key}.{warmup} (now {getattr(config, warmup)}), or set {key}.precision to float32. {kept}"
        )
