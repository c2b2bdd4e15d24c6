"""What runs on the nodes of a Ray cluster: workers that do jobs, and leaders of groups that do a job together."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray import cloudpickle

from genrobust.core import (
    Count,
    GenrobustError,
    Hardware,
    UserError,
    counting,
    hardware,
    outlast_the_dead,
    worker_environment,
)
from genrobust.study.executors.ledger import Outcome, found_no_memory, outcome_of
from genrobust.study.jobs import DoJobs

TELL_EVERY_S = 1.0  # how far a group is
PATIENCE_S = 7 * 24 * 3600  # of a group's workers for each other: one validates for long. Ray finds out who died
SIGNS = {
    "memory usage threshold": "its worker was killed, since its node had run out of memory",
    "its node has died": "its node died",
    "is unavailable": "its worker does not answer any more",
    "its worker process has died": "its worker died",
}


@dataclass
class Doer:
    """What `load` loads, at the first job, in the working directory `folder`; jobs are counted in `unit`.

    `anywhere` says that nodes need not have that folder: what is made goes to an URL.
    """

    load: bytes
    unit: str
    folder: str
    anywhere: bool
    _do: DoJobs | None = field(default=None, repr=False)

    def do(self, key: Any, tell: Count) -> None:
        """Do the job `key`, and `tell` how much is made as it goes."""
        if self.anywhere:
            outlast_the_dead()
        try:
            os.chdir(self.folder)  # what paths are relative to
        except OSError as error:
            if not self.anywhere:  # else a path of data that does not lie here is told when it is read
                why = f"a node cannot enter {self.folder} ({error.strerror})"
                raise GenrobustError(f"{why}: run it in a folder that all nodes share, under the same path") from error
        if self._do is None:
            # No file is unpickled: these bytes are the command's own, which Ray carries as it does every argument.
            self._do = cloudpickle.loads(self.load)()
        with counting(self.unit, tell):
            self._do([key])


def hardware_here(kind: str) -> Hardware:
    """Return what the devices of `kind` of the node compute at full speed."""
    return hardware(kind)


class Worker:
    """An actor that does one job after another, and counts as they go."""

    def __init__(self, doer: Doer, threads: int) -> None:
        os.environ.update(worker_environment(threads))  # Ray would have OpenMP take the CPUs that an actor takes
        self._doer = doer
        self._begun = self._count = 0

    def node(self) -> str:
        """Where it is."""
        return str(ray.get_runtime_context().get_node_id())

    def do(self, key: Any) -> Outcome:
        """Do the job `key`, the next of those that `counted` tells of."""
        self._begun, self._count = self._begun + 1, 0
        try:
            self._doer.do(key, self._add)
        except Exception as error:
            return outcome_of(error)
        return Outcome()

    @ray.method(concurrency_group="asked")
    def counted(self) -> tuple[int, int]:
        """How many jobs were begun, and how far the last of them is."""
        return self._begun, self._count

    def _add(self, count: int, note: str | None = None) -> None:
        self._count += count


@dataclass(frozen=True)
class Group:
    """So many workers of Ray Train's, each of which `takes` so much of its node, with `threads` for torch.

    Ray Train wants a folder for what nobody writes here, `store`: it lies on the machine that gave the command.
    """

    workers: int
    takes: dict[str, float]
    threads: int
    store: str


class Leader(Worker):
    """An actor that takes nothing: it has each job done by a new `group`, and counts what the first of it tells."""

    def __init__(self, doer: Doer, group: Group) -> None:
        self._doer, self._group = doer, group
        self._begun = self._count = 0

    def do(self, key: Any) -> Outcome:
        """Have the job `key` done by all of a group; what went wrong is that of the worker who knows best."""
        from ray.train import RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.torch import TorchConfig, TorchTrainer

        self._begun, self._count = self._begun + 1, 0
        doer, home, group = self._doer, ray.get_runtime_context().current_actor, self._group

        def take_part() -> None:
            _take_part(doer, key, home)

        on_gpus = group.takes["GPU"] > 0
        # mypy takes both configurations for those of an older Ray Train
        takes: dict[str, Any] = {"num_workers": group.workers, "resources_per_worker": group.takes}
        runs: dict[str, Any] = {"worker_runtime_env": {"env_vars": worker_environment(group.threads)}}
        try:
            TorchTrainer(
                take_part,
                torch_config=TorchConfig("nccl" if on_gpus else "gloo", timeout_s=PATIENCE_S),
                scaling_config=ScalingConfig(**takes, use_gpu=on_gpus),
                run_config=RunConfig(name="genrobust", storage_path=group.store, **runs),
            ).fit()
        except TrainingFailedError as error:
            failures = getattr(error, "worker_failures", None) or {0: error}
            return told_best(list(failures.values()))
        except Exception as error:
            return outcome_of(error)
        return Outcome()

    @ray.method(concurrency_group="asked")
    def add(self, count: int) -> None:
        """Count what a worker has made."""
        self._count += count


def _take_part(doer: Doer, key: Any, leader: Any) -> None:
    """Do the job `key` as one of a group, whose first tells its `leader` how far it is."""
    from torch import distributed

    untold, told_at = 0, time.monotonic()

    def tell(count: int, note: str | None = None) -> None:
        nonlocal untold, told_at
        untold += count
        if time.monotonic() - told_at > TELL_EVERY_S:
            leader.add.remote(untold)
            untold, told_at = 0, time.monotonic()

    try:
        doer.do(key, tell if distributed.get_rank() == 0 else lambda count, note: None)
    except Exception as error:
        raise GroupFailure(outcome_of(error), isinstance(error, GenrobustError) or found_no_memory(error)) from None


class GroupFailure(Exception):
    """How a worker of a group failed, and whether it knows why: when one dies, the others find a broken connection."""

    def __init__(self, outcome: Outcome, known: bool) -> None:
        super().__init__(outcome, known)
        self.outcome, self.known = outcome, known


def told_best(failures: Sequence[BaseException]) -> Outcome:
    """Of how the workers of a group failed, what says why: a mistake, a death, what a worker knows, or anything."""

    def rank(failure: BaseException) -> int:
        if not isinstance(failure, GroupFailure):
            return 1
        return 0 if failure.outcome.kind is UserError else 2 if failure.known else 3

    best = min(failures, key=rank)
    return best.outcome if isinstance(best, GroupFailure) else Outcome(why_died(best), trace=str(best))


def why_died(error: BaseException) -> str:
    """What became of a worker, in a few words: Ray says it in many."""
    text = " ".join(str(error).split())
    return next((words for sign, words in SIGNS.items() if sign in text), f"its worker died: {text[:300]}")
