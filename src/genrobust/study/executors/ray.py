"""Work on a Ray cluster: actors that load once and do one job after another."""

from __future__ import annotations

import io
import logging
import math
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle
from ray._private.state import actors
from ray.exceptions import RayError
from ray.job_config import JobConfig
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from genrobust.classifiers import settle
from genrobust.core import (
    GenrobustError,
    Hardware,
    MissingPackage,
    UserError,
    device_kind,
    in_common,
    mirrors,
    progress_bar,
)
from genrobust.recipe import Recipe
from genrobust.study.executors.local import Local
from genrobust.study.executors.pool import Counted, WorkerPool
from genrobust.study.executors.ray_workers import Task, Worker, group_of, hardware_here, why_died
from genrobust.study.jobs import Work

LOOK_S = 300.0  # for a node's answer to what it computes fast: loading torch from a slow disk can take a minute
# After this time a job is taken for lost that its living worker does not do: when a node dies, Ray (2.60) may start the
# actor on another one and forget its call, whose future then never ends.
LOST_S = 20.0
# After this time an actor that answers nothing has lost all its calls, if it runs: else it answers at once. If it does
# not run, it waits for room, or Ray has lost it on a node that died: another one in its place may wait as well. It gets
# a process of its own: else Ray may give it the process of the lost one, which starts none of those that follow.
SILENT_S = 60.0
WAIT_S = 600.0  # for a node, where none is left: what starts nodes on demand takes minutes
RAY_TRAIN = {  # nobody reads its metrics, is warned of preemption, or wants to work in its folder
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": f"{WAIT_S:.0f}",  # loading torch from a slow disk can take a minute
}
OBJECT_STORE_BYTES = 100_000_000  # of a Ray that is started here: little goes through it, everything lies on the disk
log = logging.getLogger(__name__)


class Ray:
    """The workers of the cluster at `address`, or of a Ray that is started on this machine alone.

    Each takes of its node what `recipe.execute` says.

    Raises:
        UserError: No cluster answers, or none of its nodes has so much.
    """

    here = False

    def __init__(self, recipe: Recipe, address: str | None = None) -> None:
        _connect(address)
        takes, nodes = recipe.execute, _nodes()
        self._threads, named = recipe.threads, recipe.device.partition(":")[0]  # cuda:1 is any: Ray deals them out
        has_gpus = any(node.get("GPU") for node in nodes) and takes.num_gpus != 0
        self._device = device_kind(named) if named != "auto" else "cuda" if has_gpus else "cpu"
        largest = max((int(node.get("CPU", 0)) for node in nodes), default=0)
        self._cpus = takes.num_cpus or max(1, min(recipe.threads, largest))
        self._gpus = float(self._device == "cuda") if takes.num_gpus is None else takes.num_gpus
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
        return settle(recipe.model_copy(update={"device": self._device}), self._device, self._hardware, say)

    def _hardware(self) -> Hardware:
        """Return what all nodes with room for a worker compute at full speed, without nodes that die meanwhile."""
        takes: dict[str, Any] = {"num_cpus": 0, "num_gpus": 0}  # it waits for nobody
        if self._device == "cuda":  # of which older versions of Ray hide all from what takes none
            takes["runtime_env"] = {"env_vars": {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}}
        look = ray.remote(**takes)(hardware_here)
        ids = [node["NodeID"] for node in ray.nodes() if node["Alive"] and self._room(node["Resources"])]
        pins = [NodeAffinitySchedulingStrategy(id, soft=False) for id in ids]
        answers = [look.options(scheduling_strategy=pin).remote(self._device) for pin in pins]
        found = []
        for answer in answers:
            try:
                found.append(ray.get(answer, timeout=LOOK_S))
            except RayError as error:
                log.warning("a node did not say what it computes fast: %s", why_died(error))
        return in_common(found) if found else Hardware(self._device, frozenset({"float32"}), "no node answered")

    def _room(self, node: dict[str, float]) -> int:
        """How many workers a node has room for, if nobody else uses it."""
        gpus = node.get("GPU", 0) // self._gpus if self._gpus else math.inf
        return int(min(node.get("CPU", 0) // self._cpus, gpus))

    def capacity(self) -> int:
        """How many workers the living nodes have room for, if nobody else uses them."""
        return sum(map(self._room, _nodes()))

    def workers(self) -> int:
        """How many jobs are done at the same time, if nobody else uses the cluster."""
        return max(1, self.capacity())

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
        sizes = sorted({job.workers for job in work.jobs})
        for workers in sizes:
            self.require(workers)
        self._had_room = time.monotonic()
        task = Task(cloudpickle.dumps(work.load), work.unit, str(Path.cwd()), mirrors())
        # Ray reports each dead node and worker on standard output, at length; the pool does in a line.
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as store,
            progress_bar(work.what, work.size, work.unit, seconds=work.seconds) as bar,
            redirect_stdout(io.StringIO()),
        ):
            pool = WorkerPool(work.what, bar, on_cluster=True)
            for workers in sizes:
                jobs = [job for job in work.jobs if job.workers == workers]
                start = self._worker(task) if workers == 1 else self._leader(task, workers, store)
                pool.run(jobs, partial(_RayWorker, start), partial(self._room_for, workers))
                pool.stop()
            pool.report()

    def _worker(self, task: Task) -> Callable[[int], Any]:
        """Return what starts a worker, on a node with room, from how many that do not run it replaces.

        The pool tries a job again whose worker died, in place of Ray's `max_task_retries`: see LOST_S.
        """
        takes: dict[str, Any] = {"num_cpus": self._cpus, "num_gpus": self._gpus, "concurrency_groups": {"progress": 1}}
        return partial(_start, takes, {}, task, self._threads)

    def _leader(self, task: Task, workers: int, store: str) -> Callable[[int], Any]:
        """Return what starts the leader of a group, on this machine, where Ray Train's folder `store` lies."""
        each = {"CPU": self._cpus, "GPU": self._gpus}
        group = partial(group_of, workers, task, self._threads, each, store)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        takes: dict[str, Any] = {"num_cpus": 0, "concurrency_groups": {"progress": 1}, "scheduling_strategy": here}
        led = replace(task, load=cloudpickle.dumps(group))
        return partial(_start, takes, RAY_TRAIN, led, self._threads)

    def _room_for(self, workers: int) -> int:
        """Return how many jobs of so many workers are done at a time: one of several.

        Raises GenrobustError where nodes are gone, so that none has room, and none came for long.
        """
        capacity, now = self.capacity(), time.monotonic()
        room = capacity if workers == 1 else int(capacity >= workers)
        if room:
            self._had_room = now
        elif now - self._had_room > WAIT_S:
            left = f"room for {capacity} of {workers} workers" if capacity else "no node for a worker left"
            raise GenrobustError(
                f"the cluster has {left}, and none came in {WAIT_S / 60:.0f} minutes: completed jobs are kept; start a "
                "node and rerun"
            )
        return room


def _start(takes: dict[str, Any], env_vars: dict[str, str], task: Task, threads: int, replaced: int) -> Any:
    """Start an actor; one that replaces others has an environment that none has had, and so a process of its own."""
    if replaced:
        env_vars = {**env_vars, "GENROBUST_REPLACED": str(replaced)}
    options = {**takes, "runtime_env": {"env_vars": env_vars}} if env_vars else takes
    return ray.remote(**options)(Worker).remote(task, threads)


class _RayWorker:
    """A worker of a `WorkerPool` that is an actor, which `make` starts from how many that do not run it replaces."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self._make = make
        self._actor: Any = None
        self._replaced = 0
        self._number, self._count = 0, Counted()
        self._asked: Future[Counted | None] | None = None
        self._asked_at, self._heard_at = 0.0, time.monotonic()
        self._idle_since: float | None = None
        self._key: Any = None
        self._call: Future[GenrobustError | None] | None = None
        self._done = Future[GenrobustError | None]()

    def submit(self, key: Any) -> Future[GenrobustError | None]:
        self._key, self._done = key, Future[GenrobustError | None]()
        self._begin()
        return self._done

    def _begin(self) -> None:
        self._actor = self._actor or self._make(self._replaced)
        self._number, self._count, self._asked, self._idle_since = self._number + 1, Counted(), None, None
        self._heard_at = time.monotonic()
        self._call = self._actor.do.remote(self._number, self._key).future()
        self._call.add_done_callback(self._hand_on)

    def count(self) -> Counted:
        now = time.monotonic()
        if self._asked is None or self._asked.done() or now - self._asked_at > LOST_S:  # this call may be lost as well
            if self._asked and self._asked.done() and not self._asked.exception():
                self._look(self._asked.result())
                self._heard_at = now
            self._asked, self._asked_at = self._actor.count.remote(self._number).future(), now
        if now - self._heard_at > SILENT_S:
            self._heard_at = now
            if _runs(self._actor):
                self._give_up()
            else:
                self.stop()
                self._replaced += 1
                self._begin()
        return self._count

    def _look(self, count: Counted | None) -> None:
        """Take note of how much is done; None where the actor lives and does not do the job."""
        now = time.monotonic()
        if count is not None:
            self._count, self._idle_since = count, None
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since > LOST_S:
            self._give_up()

    def _give_up(self) -> None:
        if not self._done.done():
            self._done.set_exception(RuntimeError("Ray lost its job"))

    def _hand_on(self, call: Future[GenrobustError | None]) -> None:
        """Let the job end as its last call did, unless that was taken for lost before."""
        if call is not self._call:
            return
        with suppress(InvalidStateError):
            if (error := call.exception()) is None:
                self._done.set_result(call.result())
            else:
                self._done.set_exception(error)

    def why_died(self, error: Exception) -> str:
        return why_died(error)

    def stop(self) -> None:
        self._call = None  # it ends late, and is none of the next job's
        if self._actor is not None:
            ray.kill(self._actor)
            self._actor = None


def _runs(actor: Any) -> bool:
    """Whether Ray says that an actor runs. The public way to ask wants Ray's dashboard, which is not started."""
    return actors(actor._actor_id.hex()).get("State") == "ALIVE"  # type: ignore[no-untyped-call]


class _Job(JobConfig):
    """The settings of a job whose workers import what is installed on their node alone.

    Ray would put the current folder first in their path, unless a working directory is sent to them.
    """

    def _runtime_env_has_working_dir(self) -> bool:
        return True


def _connect(address: str | None) -> None:
    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "job_config": _Job()}
    if address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent home
        ray.init("local", include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **quiet)
        return
    try:
        ray.init(address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(
            f"no Ray cluster answers at {address}: {' '.join(str(error).split())[:200]}: start one with ray start "
            "--head, or leave --address out, and one is started on this machine"
        ) from error


def _nodes() -> list[dict[str, float]]:
    """Return the resources of each living node, whether they are free or not."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
