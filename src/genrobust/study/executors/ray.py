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
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import ray
from ray import cloudpickle
from ray.exceptions import RayError, RayTaskError
from ray.util import get_node_ip_address, placement_group, remove_placement_group
from ray.util.placement_group import PlacementGroup
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from genrobust.classifiers import choose_precisions
from genrobust.core import (
    Busy,
    DiskFull,
    GenrobustError,
    Hardware,
    UserError,
    device_kind,
    hardware,
    in_common,
    one_line,
    worker_environment,
)
from genrobust.recipe import Recipe
from genrobust.study.executors.jobs import Work
from genrobust.study.executors.workers import (
    TRIES,
    BadLuck,
    Call,
    Channel,
    Result,
    Slot,
    Workers,
    backend_for,
    failed,
)

OBJECT_STORE_BYTES = 100_000_000  # of a Ray that is started here: little goes through it, everything lies on the disk
_remote: Any = ray.remote  # whose types know each option alone, and no mapping of options
ANSWER_S = 10.0  # a cluster that takes longer to accept a connection is none


class Ray(Workers):
    """The workers of the cluster at `address`, or of a Ray that is started on this machine alone.

    Each takes `num_cpus` and `num_gpus` of its node, by default as `RayConfig` says.

    Raises:
        UserError: No cluster answers, or none of its nodes has so much.
    """

    here = False

    @staticmethod
    def dumps(value: Any) -> bytes:
        return bytes(cloudpickle.dumps(value))

    def __init__(
        self, recipe: Recipe, address: str | None = None, num_cpus: int | None = None, num_gpus: float | None = None
    ) -> None:
        at_sigterm = signal.getsignal(signal.SIGTERM)
        _connect(address)
        if callable(at_sigterm) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, at_sigterm)  # in place of Ray's, which aborts the program
        nodes = [node["Resources"] for node in _nodes()]
        self._threads, named = recipe.threads, recipe.device.partition(":")[0]  # cuda:1 is any: Ray deals them out
        has_gpus = any(node.get("GPU") for node in nodes) and num_gpus != 0
        self._device = device_kind(named) if named != "auto" else "cuda" if has_gpus else "cpu"
        largest = max((int(node.get("CPU", 0)) for node in nodes), default=0)
        self._cpus = num_cpus or max(1, min(recipe.threads, largest))
        self._gpus = float(self._device == "cuda") if num_gpus is None else num_gpus
        if not self._capacity():
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
        """Return what all nodes with room for a worker compute at full speed."""
        # It takes nothing, so that it waits for nobody; older versions of Ray hide all GPUs from such a task.
        sees_all = {"env_vars": {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}}
        ids = [node["NodeID"] for node in _nodes() if self._room_on(node["Resources"])]
        pins = [NodeAffinitySchedulingStrategy(id, soft=False) for id in ids]
        asked = [_remote(num_cpus=0, runtime_env=sees_all, scheduling_strategy=pin)(_hardware) for pin in pins]
        return in_common(ray.get([ask.remote(self._device) for ask in asked]))

    def _room_on(self, node: dict[str, float]) -> int:
        """How many workers a node has room for, if nobody else uses it."""
        gpus = node.get("GPU", 0) // self._gpus if self._gpus else math.inf
        return int(min(node.get("CPU", 0) // self._cpus, gpus))

    def _capacity(self) -> int:
        return sum(self._room_on(node["Resources"]) for node in _nodes())

    def workers(self) -> int:
        """Return how many jobs are done at the same time, if nobody else uses the cluster."""
        return max(1, self._capacity())

    def require(self, workers: int) -> None:
        if workers > 1 and (workers > self._capacity() or self._device == "mps" or 0 < self._gpus < 1):
            raise UserError(
                f"train.workers: each of {workers} workers takes {self._cpus} CPUs and {self._gpus:g} GPUs, not a part "
                f"of one, and the cluster has room for {self._capacity()}: lower train.workers, change "
                "execute.num_cpus and execute.num_gpus, or start more nodes first"
            )

    @contextmanager
    def channel(self) -> Iterator[_Queued]:
        # Beside the command, since another node may die. Not soft: that also takes another node where this is slow.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        lasting = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
        with redirect_stdout(io.StringIO()):  # where Ray reports each dead node and worker, at length
            queue = Queue(actor_options=lasting)
            yield _Queued(queue)
            queue.shutdown(force=True)

    def slots(self, work: Work, count: int, size: int = 1) -> Sequence[Slot]:
        environment = {"env_vars": worker_environment(self._threads)}
        options: dict[str, Any] = {"num_cpus": self._cpus, "num_gpus": self._gpus, "runtime_env": environment}
        if size > 1:  # a failed group stays in its processes
            return [_Group(_remote(**options, max_retries=0, max_calls=1)(_run), self._cpus, self._gpus, size)]
        task = _remote(**options, max_retries=TRIES - 1, retry_exceptions=[BadLuck, Busy, DiskFull])(_run)
        return [_Task(task) for _ in range(count)]


@dataclass(frozen=True)
class _Queued(Channel):
    """A queue beside the command, where nodes may share no folder."""

    queue: Queue

    def send(self, number: int, done: int, found: int) -> None:
        self.queue.put_nowait((number, done, found))

    def receive(self, running: Iterable[int]) -> Iterable[Sequence[int]]:
        return self.queue.get_nowait_batch(self.queue.qsize())


class _Task(Slot):
    """A task of Ray's, which also tries it again."""

    tries = 1

    def __init__(self, task: Any) -> None:
        self._task = task
        self._running: list[Any] = []

    def start(self, call: Call) -> list[Future[Result]]:
        self._running = [self._task.remote(call)]
        return [reference.future() for reference in self._running]

    def why_ended(self, future: Future[Result], error: BaseException) -> GenrobustError:
        cause = error.cause if isinstance(error, RayTaskError) else error
        return cause if isinstance(cause, GenrobustError) else BadLuck(f"its worker died: {one_line(error)}")

    def end(self) -> None:
        for reference in self._running:
            ray.cancel(reference, force=True)
        self._running = []


class _Group(_Task):
    """Tasks that run at the same time, in a placement group of `size` workers."""

    tries = TRIES

    def __init__(self, task: Any, cpus: float, gpus: float, size: int) -> None:
        super().__init__(task)
        self._takes, self._size = {"CPU": cpus, "GPU": gpus}, size
        self._group: PlacementGroup | None = None

    def start(self, call: Call) -> list[Future[Result]]:
        self._group = placement_group([self._takes] * self._size)
        places = [PlacementGroupSchedulingStrategy(self._group, rank) for rank in range(self._size)]
        try:
            url = ray.get(_remote(num_cpus=0, scheduling_strategy=places[0])(_free_address).remote())
        except RayError as error:  # the node died
            return [failed(error)]
        call = replace(call, group=(backend_for(self._takes["GPU"] > 0), url, self._size))
        tasks = [self._task.options(scheduling_strategy=place) for place in places]
        self._running = [task.remote(replace(call, rank=rank)) for rank, task in enumerate(tasks)]
        return [reference.future() for reference in self._running]

    def wait(self) -> None:
        if self._group is not None:
            remove_placement_group(self._group)
            self._group = None


def _free_address() -> str:
    """Return where processes can meet on this node."""
    with socket.socket() as free:
        free.bind(("", 0))
        return f"tcp://{get_node_ip_address()}:{free.getsockname()[1]}"


def _run(call: Call) -> float:
    """Do `call` on a node.

    Raises:
        GenrobustError: How it failed.
    """
    result = call()
    if isinstance(result, GenrobustError):
        raise result
    return result


def _hardware(kind: str) -> Hardware:
    """Return the hardware of the node that runs this: Ray takes plain functions, and `hardware` is a cached one."""
    return hardware(kind)


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


def _nodes() -> list[dict[str, Any]]:
    """Return the living nodes, with their resources, whether they are free or not."""
    return [node for node in ray.nodes() if node["Alive"]]
