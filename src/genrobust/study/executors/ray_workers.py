"""Code that runs on the nodes of a Ray cluster: workers, and groups of them that do a job together."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray import cloudpickle

from genrobust.core import Count, GenrobustError, Hardware, counting, hardware, worker_environment
from genrobust.study.executors.pool import PATIENCE_S, BadLuck, Counted, failure_of, root_cause
from genrobust.study.jobs import DoJobs

REPORT_EVERY_S = 1.0  # how far a group is
SIGNS = {
    "memory usage threshold": "its worker was killed, since its node had run out of memory",
    "its node has died": "its node died",
    "is unavailable": "its worker does not answer any more",
    "its worker process has died": "its worker died",
}


@dataclass(frozen=True)
class Task:
    """The function that workers load, in the working directory `folder`, and the `unit` of what they make.

    With `at_url`, what is made goes to a URL, and nodes need not have that folder.
    """

    load: bytes
    unit: str
    folder: str
    at_url: bool


def hardware_here(kind: str) -> Hardware:
    """Return what the devices of `kind` of the node compute at full speed."""
    return hardware(kind)


class Worker:
    """An actor that does one job after another."""

    def __init__(self, task: Task, threads: int) -> None:
        os.environ.update(worker_environment(threads))  # Ray would have OpenMP take the CPUs that an actor takes
        self._task = task
        self._do: DoJobs | None = None
        self._number, self._count = 0, Counted()

    def do(self, number: int, key: Any) -> GenrobustError | None:
        """Do the job of `key`, and return how it failed. `number` is what `count` knows it by."""
        self._number, self._count = number, Counted()
        try:
            self.work(key, self._add)
        except Exception as error:
            return failure_of(error)
        finally:
            self._number = 0
        return None

    def work(self, key: Any, count: Count) -> None:
        """Do the job of `key`, and let `count` count what is made.

        Raises:
            Exception: Whatever the job raises.
        """
        task = self._task
        try:
            os.chdir(task.folder)  # what paths are relative to
        except OSError as error:
            if not task.at_url:  # else the paths of missing data are reported when they are read
                raise GenrobustError(
                    f"a node cannot enter {task.folder} ({error.strerror}): run it in a folder that all nodes share, "
                    "under the same path"
                ) from error
        if self._do is None:
            # No file is unpickled: these bytes are the command's own, which Ray carries as it does every argument.
            self._do = cloudpickle.loads(task.load)()
        with counting(task.unit, count):
            self._do([key])

    @ray.method(concurrency_group="progress")
    def count(self, number: int) -> Counted | None:
        """Return how much of a job is done; None where it is not being done."""
        return self._count if number == self._number else None

    @ray.method(concurrency_group="progress")
    def add(self, more: Counted) -> None:
        """Count what a worker of a group made of the job."""
        self._count = self._count.plus(more)

    def _add(self, more: int, note: str | None, found: bool) -> None:
        self._count = self._count.plus(Counted(more, more if found else 0))


def group_of(workers: int, task: Task, threads: int, takes: dict[str, float], store: str) -> DoJobs:
    """Return what has each job done by so many new workers of Ray Train's; it is the load of a leader's task.

    Args:
        takes: What each of them takes of its node.
        store: A folder of the leader's machine, which Ray Train needs and nobody writes to.
    """
    from ray.train import RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    on_gpus, leader = takes["GPU"] > 0, ray.get_runtime_context().current_actor
    # mypy takes both configurations for those of an older Ray Train
    scaling: dict[str, Any] = {"num_workers": workers, "resources_per_worker": takes, "use_gpu": on_gpus}
    runs: dict[str, Any] = {"worker_runtime_env": {"env_vars": worker_environment(threads)}}

    def do(keys: Sequence[Any]) -> None:
        try:
            TorchTrainer(
                _take_part,
                train_loop_config={"task": task, "threads": threads, "key": keys[0], "leader": leader},
                torch_config=TorchConfig("nccl" if on_gpus else "gloo", timeout_s=PATIENCE_S),
                scaling_config=ScalingConfig(**scaling),
                run_config=RunConfig(name="genrobust", storage_path=store, **runs),
            ).fit()
        except TrainingFailedError as error:
            failures = getattr(error, "worker_failures", None) or {0: error}
            raise root_cause([_failure_behind(failure) for failure in failures.values()]) from None

    return do


def _take_part(job: dict[str, Any]) -> None:
    """Do a job as one worker of a group, the first of which reports to the leader how much is done."""
    from torch import distributed

    unreported, reported_at = Counted(), time.monotonic()

    def count(more: int, note: str | None, found: bool) -> None:
        nonlocal unreported, reported_at
        unreported = unreported.plus(Counted(more, more if found else 0))
        if distributed.get_rank() == 0 and time.monotonic() - reported_at > REPORT_EVERY_S:
            job["leader"].add.remote(unreported)
            unreported, reported_at = Counted(), time.monotonic()

    try:
        Worker(job["task"], job["threads"]).work(job["key"], count)
    except Exception as error:
        raise GroupFailure(failure_of(error)) from None


class GroupFailure(Exception):
    """How a worker of a group failed."""

    def __init__(self, failure: GenrobustError) -> None:
        super().__init__(failure)
        self.failure = failure


def _failure_behind(error: BaseException) -> GenrobustError:
    return error.failure if isinstance(error, GroupFailure) else BadLuck(why_died(error))


def why_died(error: BaseException) -> str:
    """Return in a few words what became of a worker: Ray says it in many."""
    text = " ".join(str(error).split())
    return next((words for sign, words in SIGNS.items() if sign in text), f"its worker died: {text[:300]}")
