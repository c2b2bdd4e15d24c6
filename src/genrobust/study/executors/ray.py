"""Work on a Ray cluster: tasks that Ray places, and tries again where a worker or a node dies."""

from __future__ import annotations

import io
import logging
import math
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ray
from ray import cloudpickle
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from genrobust.classifiers import choose_precisions
from genrobust.core import (
    Busy,
    GenrobustError,
    Hardware,
    MissingPackage,
    UserError,
    device_kind,
    hardware,
    in_common,
    mirrors,
    one_line,
    progress_bar,
    worker_environment,
)
from genrobust.recipe import Recipe
from genrobust.study.executors.doing import (
    LOOK_EVERY_S,
    PATIENCE_S,
    TRIES,
    BadLuck,
    Counted,
    Shown,
    do_jobs,
    failure_of,
    raise_failed,
    root_cause,
)
from genrobust.study.executors.jobs import Job, Work
from genrobust.study.executors.local import Local

HOPELESS = 10  # failed jobs in a row: not they are at fault, but a full shared disk, for instance
RAY_TRAIN = {  # nobody reads its metrics, is warned of preemption, or wants to work in its folder
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",  # loading torch from a slow disk can take a minute
}
OBJECT_STORE_BYTES = 100_000_000  # of a Ray that is started here: little goes through it, everything lies on the disk
ANSWER_S = 10.0  # a cluster that takes longer to accept a connection is none
SIGNS = {
    "memory usage threshold": "its worker was killed, since its node had run out of memory",
    "its node has died": "its node died",
    "is unavailable": "its worker does not answer any more",
}
log = logging.getLogger(__name__)


class Ray:
    """The workers of the cluster at `address`, or of a Ray that is started on this machine alone.

    Each takes `num_cpus` and `num_gpus` of its node, by default as `RayConfig` says.

    Raises:
        UserError: No cluster answers, or none of its nodes has so much.
    """

    here = False

    def __init__(
        self, recipe: Recipe, address: str | None = None, num_cpus: int | None = None, num_gpus: float | None = None
    ) -> None:
        at_sigterm = signal.getsignal(signal.SIGTERM)
        _connect(address)
        if callable(at_sigterm) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, at_sigterm)  # in place of Ray's, which aborts the program
        nodes = _nodes()
        self._threads, named = recipe.threads, recipe.device.partition(":")[0]  # cuda:1 is any: Ray deals them out
        has_gpus = any(node.get("GPU") for node in nodes) and num_gpus != 0
        self._device = device_kind(named) if named != "auto" else "cuda" if has_gpus else "cpu"
        largest = max((int(node.get("CPU", 0)) for node in nodes), default=0)
        self._cpus = num_cpus or max(1, min(recipe.threads, largest))
        self._gpus = float(self._device == "cuda") if num_gpus is None else num_gpus
        if not self.capacity():
            there = "; ".join(f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in nodes)
            raise UserError(
                f"a worker takes {self._cpus} CPUs and {self._gpus:g} GPUs, and no node of the cluster has that much "
                f"(they have: {there}): lower execute.num_cpus and execute.num_gpus, or start such a node first"
            )

    def placed(self, recipe: Recipe, say: Callable[[str], None] = lambda line: None) -> Recipe:
        """Return `recipe` on the kind of device that the workers have, with the precisions that all nodes are fast in.

        Which GPU a worker gets is Ray's choice.
        """
        return choose_precisions(recipe.model_copy(update={"device": self._device}), self._hardware, say)

    def _hardware(self) -> Hardware:
        """Return what all nodes with room for a worker compute at full speed, without nodes that die meanwhile."""
        takes: dict[str, Any] = {"num_cpus": 0, "num_gpus": 0}  # it waits for nobody
        if self._device == "cuda":  # of which older versions of Ray hide all from what takes none
            takes["runtime_env"] = {"env_vars": {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}}
        ask: Any = ray.remote(**takes)(_remote_hardware)
        ids = [node["NodeID"] for node in ray.nodes() if node["Alive"] and self._worker_slots(node["Resources"])]
        pins = [NodeAffinitySchedulingStrategy(id, soft=False) for id in ids]
        nodes = []
        for reply in [ask.options(scheduling_strategy=pin).remote(self._device) for pin in pins]:
            try:
                nodes.append(ray.get(reply))
            except RayError as error:
                log.warning("a node did not say what it computes fast: %s", why_died(error))
        return in_common(nodes) if nodes else Hardware(self._device, frozenset({"float32"}), "no node answered")

    def _worker_slots(self, node: dict[str, float]) -> int:
        """How many workers a node has room for, if nobody else uses it."""
        gpus = node.get("GPU", 0) // self._gpus if self._gpus else math.inf
        return int(min(node.get("CPU", 0) // self._cpus, gpus))

    def capacity(self) -> int:
        """How many workers the living nodes have room for, if nobody else uses them."""
        return sum(map(self._worker_slots, _nodes()))

    def workers(self) -> int:
        """How many jobs are done at the same time, if nobody else uses the cluster."""
        return max(1, self.capacity())

    def prepare(self) -> None:
        """Nothing: Ray starts workers with their first jobs."""

    def require(self, workers: int) -> None:
        """Raise UserError where the cluster has no room for so many `workers` that do a job together."""
        if workers == 1:
            return
        if find_spec("pandas") is None:  # of what ray[train] adds to ray, all else is here already
            raise MissingPackage("ray[train]", "ray", f"train.workers: {workers}")
        each = f"{self._cpus} CPUs and {self._gpus:g} GPUs"
        if self._device == "mps" or 0 < self._gpus < 1:
            raise UserError(
                f"train.workers: each of {workers} workers needs a CPU or GPU of its own, and takes {each} for device "
                f"{self._device}: set execute.num_gpus to 1, device to cpu or cuda, or train.workers to 1"
            )
        if workers > self.capacity():
            raise UserError(
                f"train.workers: the cluster has room for {self.capacity()} of {workers} workers, where each takes "
                f"{each}: lower train.workers, execute.num_cpus or execute.num_gpus, or start more nodes first"
            )

    def run(self, work: Work) -> None:
        """Do all of `work`; what fails or dies is tried again, and reported job by job when the rest is done.

        Jobs of several workers come last, one after another.

        Raises:
            UserError: A job failed by a mistake of the user's; the first such failure ends the work at once.
            GenrobustError: Jobs failed in all their tries, or too many failed in a row; the message lists them.
        """
        if work.alone:
            Local().run(work)
        if work.alone or not work.jobs:
            return
        single = [job for job in work.jobs if job.workers == 1]
        several = [job for job in work.jobs if job.workers > 1]
        for job in several:
            self.require(job.workers)
        # Ray reports each dead node and worker on standard output, at length.
        with (
            progress_bar(work.what, work.size, work.unit, seconds=work.seconds) as bar,
            redirect_stdout(io.StringIO()),
        ):
            board = _Board.options(scheduling_strategy=_this_node()).remote()  # type: ignore[attr-defined]
            shown = Shown(bar, lambda: ray.get(board.read.remote()))
            task = _Task(cloudpickle.dumps(work.load), work.unit, str(Path.cwd()), mirrors(), board)
            failed = self._run_single(work, single, task, shown)
            for job in several:
                failed += self._run_together(work, job, task, shown)
            raise_failed(work.what, failed)

    def _run_single(self, work: Work, jobs: list[Job], task: _Task, shown: Shown) -> list[tuple[Job, GenrobustError]]:
        """Do jobs of one worker, and return those that failed in all their tries."""
        do = ray.remote(
            num_cpus=self._cpus,
            num_gpus=self._gpus,
            max_retries=TRIES - 1,
            retry_exceptions=True,
            runtime_env={"env_vars": worker_environment(self._threads)},
        )(_run_job)
        running = {do.remote(task, number := shown.begin(job.size), job.key): (job, number) for job in jobs}
        failed: list[tuple[Job, GenrobustError]] = []
        in_a_row = 0
        try:
            while running:
                for ended in ray.wait(list(running), timeout=LOOK_EVERY_S)[0]:
                    job, number = running.pop(ended)
                    result = _result(ended)
                    if isinstance(result, float):
                        in_a_row = 0
                        shown.ended(number)
                        work.ended((job,), result)
                        continue
                    if isinstance(result, UserError) and not isinstance(result, Busy):
                        raise result
                    shown.failed(number)
                    failed.append((job, result))
                    in_a_row += 1
                    if in_a_row == HOPELESS:
                        raise_failed(f"stopped after {HOPELESS} failures in a row: {work.what}", failed)
                shown.update()
        finally:
            for unfinished in running:
                ray.cancel(unfinished, force=True)
        return failed

    def _run_together(self, work: Work, job: Job, task: _Task, shown: Shown) -> list[tuple[Job, GenrobustError]]:
        """Let Ray Train do a job with several workers, and return it if it failed in all its tries."""
        os.environ.update(RAY_TRAIN)
        from ray.train import RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.torch import TorchConfig, TorchTrainer

        on_gpus = self._gpus > 0
        each = {"CPU": float(self._cpus), "GPU": self._gpus}
        # mypy takes both configurations for those of an older Ray Train
        scaling: dict[str, Any] = {"num_workers": job.workers, "resources_per_worker": each, "use_gpu": on_gpus}
        runs: dict[str, Any] = {"worker_runtime_env": {"env_vars": worker_environment(self._threads)}}
        for tries in range(1, TRIES + 1):
            began, number = time.monotonic(), shown.begin(job.size)
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as store, shown.beside():
                try:
                    TorchTrainer(
                        _join_training,
                        train_loop_config={"task": task, "number": number, "key": job.key},
                        torch_config=TorchConfig("nccl" if on_gpus else "gloo", timeout_s=PATIENCE_S),
                        scaling_config=ScalingConfig(**scaling),
                        run_config=RunConfig(name="genrobust", storage_path=store, **runs),
                    ).fit()
                except TrainingFailedError as error:
                    failures = getattr(error, "worker_failures", None) or {0: error}
                    failure = root_cause([_failure_behind(failure) for failure in failures.values()])
                else:
                    shown.ended(number)
                    work.ended((job,), time.monotonic() - began)
                    return []
            shown.failed(number)
            if isinstance(failure, UserError) and not isinstance(failure, Busy):
                raise failure
            if tries < TRIES:
                log.warning("%s: %s; it is tried again", job.name, failure)
        return [(job, failure)]


def _result(ended: Any) -> float | GenrobustError:
    """Return the seconds of a job that ended, or how it failed."""
    try:
        result: float | GenrobustError = ray.get(ended)
    except RayError as error:
        return _failure_behind(error)
    return result


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class _Board:
    """Where workers write how far they are; it lives beside the command, and what kills it costs only the display."""

    def __init__(self) -> None:
        self._counts: dict[int, Counted] = {}

    def write(self, number: int, counted: Counted) -> None:
        self._counts[number] = counted

    def read(self) -> dict[int, Counted]:
        return self._counts


def _this_node() -> NodeAffinitySchedulingStrategy:
    # Not soft: that also takes another node where this one is slow to start a process, and that one may die.
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


@dataclass(frozen=True)
class _Task:
    """The function that workers load, in the working directory `folder`, the `unit` of what they make, and the board.

    With `at_url`, what is made goes to a URL, and nodes need not have that folder.
    """

    load: bytes
    unit: str
    folder: str
    at_url: bool
    board: Any

    def do(self, number: int, key: Any, counts: bool = True) -> float:
        """Do the job of `key` here; return its seconds.

        Raises:
            Exception: Whatever the job raises.
        """
        try:
            os.chdir(self.folder)  # what paths are relative to
        except OSError as error:
            if not self.at_url:  # else the paths of missing data are reported when they are read
                raise GenrobustError(
                    f"a node cannot enter {self.folder} ({error.strerror}): run it in a folder that all nodes share, "
                    "under the same path"
                ) from error
        report = partial(self.board.write.remote, number) if counts else lambda counted: None
        return do_jobs(self.load, self.unit, [key], report)


class Failed(Exception):
    """How a job failed."""

    def __init__(self, failure: GenrobustError) -> None:
        super().__init__(failure)
        self.failure = failure


def _run_job(task: _Task, number: int, key: Any) -> float | GenrobustError:
    """Do a job on a node; return its seconds, or the user's mistake, which no other try mends.

    Raises:
        Failed: It failed otherwise.
    """
    try:
        return task.do(number, key)
    except Exception as error:
        failure = failure_of(error)
        if isinstance(failure, UserError) and not isinstance(failure, Busy):
            return failure
        raise Failed(failure) from None


def _join_training(job: dict[str, Any]) -> None:
    """Do a job as one worker of several, the first of which counts."""
    from torch import distributed

    try:
        job["task"].do(job["number"], job["key"], counts=distributed.get_rank() == 0)
    except Exception as error:
        raise Failed(failure_of(error)) from None


def _failure_behind(error: BaseException) -> GenrobustError:
    cause = error.cause if isinstance(error, RayTaskError) else error
    return cause.failure if isinstance(cause, Failed) else BadLuck(why_died(error))


def _remote_hardware(kind: str) -> Hardware:
    """Return the hardware of the node that runs this: Ray takes plain functions, and `hardware` is a cached one."""
    return hardware(kind)


def why_died(error: BaseException) -> str:
    """Return in a few words what became of a worker: Ray says it in many."""
    text = " ".join(str(error).split())
    return next((words for sign, words in SIGNS.items() if sign in text), f"its worker died: {text[:300]}")


def _connect(address: str | None) -> None:
    if ray.is_initialized():
        return
    # Ray would put the current folder first in the path of workers, unless another one is sent to them.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as empty:
        quiet: dict[str, Any] = {
            "log_to_driver": False,
            "logging_level": logging.ERROR,
            "runtime_env": {"working_dir": empty},
        }
        if address is None:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent home
            ray.init("local", include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **quiet)
            return
        try:
            _require_answer(address)
            ray.init(address, **quiet)
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(
                f"no Ray cluster answers at {address}: {one_line(error)}: start one with ray start "
                "--head, or leave --address out, and one is started on this machine"
            ) from error


def _require_answer(address: str) -> None:
    """Raise OSError where `address` has a host and a port that nobody answers at: Ray would try for minutes."""
    parts = urlsplit(address if "//" in address else f"//{address}")
    if parts.hostname and parts.port:
        socket.create_connection((parts.hostname, parts.port), timeout=ANSWER_S).close()


def _nodes() -> list[dict[str, float]]:
    """Return the resources of each living node, whether they are free or not."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
