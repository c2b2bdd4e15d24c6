"""Workers of a Ray cluster. Ray decides on which node each task runs."""

from __future__ import annotations

import io
import logging
import math
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, StrictFloat, model_validator

from genrobust.classifiers import choose_precisions
from genrobust.core import (
    Busy,
    DiskFull,
    Hardware,
    UserError,
    device_kind,
    hardware,
    in_common,
    one_line,
    require_packages,
)
from genrobust.recipe import EXECUTORS, Recipe, Threads
from genrobust.study.executors.calls import Call, Channel, Result, WorkerDied, run_call
from genrobust.study.executors.executor import Executor, ExecutorConfig
from genrobust.study.executors.work import Work
from genrobust.study.executors.workers import Submit, Workers

if TYPE_CHECKING:
    from ray.util.queue import Queue

OBJECT_STORE_BYTES = 100_000_000  # for a Ray that is started here; results go to the disk, not through the store
ANSWER_S = 10.0  # to accept a connection


@EXECUTORS.register("ray")
class RayConfig(ExecutorConfig):
    """A Ray cluster, or a Ray that is started on this machine.

    `num_cpus` is for a worker; None takes `threads`, or all of a smaller node.

    `num_gpus` is for a worker; None takes one if the device is cuda, else none. 0.5 lets two share a GPU.
    """

    address: str | None = None  # host:port
    num_cpus: Threads | None = None
    num_gpus: Annotated[StrictFloat, Field(ge=0, le=1024)] | None = None

    @model_validator(mode="after")
    def _check_num_gpus(self) -> RayConfig:
        if self.num_gpus is not None and self.num_gpus > 1 and self.num_gpus % 1:
            raise ValueError(f"num_gpus: {self.num_gpus:g} is more than one GPU, so it must be a whole number")
        return self

    def open(self, recipe: Recipe, out: Path) -> Executor:
        require_packages(["ray"], "ray", "--executor ray")
        return Ray(self, recipe)


class Ray(Workers):
    """Workers of a cluster, or of a Ray that is started on this machine only."""

    here = False
    # Another node may have the memory or disk space that this one lacks.
    retried = (WorkerDied, Busy, DiskFull)

    def __init__(self, config: RayConfig, recipe: Recipe) -> None:
        at_sigterm = signal.getsignal(signal.SIGTERM)
        _connect(config.address)
        if callable(at_sigterm) and threading.current_thread() is threading.main_thread():
            # Ray's own handler aborts the program.
            signal.signal(signal.SIGTERM, at_sigterm)
        nodes = [node["Resources"] for node in _nodes()]
        self._threads = recipe.threads
        # cuda:1 means any GPU, because Ray assigns them.
        named = recipe.device.partition(":")[0]
        if named == "auto":
            has_gpus = any(node.get("GPU") for node in nodes) and config.num_gpus != 0
            named = "cuda" if has_gpus else "cpu"
        self._device = device_kind(named)
        largest = max((int(node.get("CPU", 0)) for node in nodes), default=0)
        self._cpus = config.num_cpus or max(1, min(recipe.threads, largest))
        self._gpus = float(self._device == "cuda") if config.num_gpus is None else config.num_gpus
        if not self._rooms():
            there = "; ".join(f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in nodes)
            raise UserError(
                f"a worker takes {self._cpus} CPUs and {self._gpus:g} GPUs, and no node of the cluster has that much "
                f"(they have: {there}): lower execute.num_cpus and execute.num_gpus, or start such a node first"
            )

    def placed(self, recipe: Recipe, say: Callable[[str], None] = lambda line: None) -> Recipe:
        """Return `recipe` with the device of the workers, and the precisions in which all nodes are fast.

        Ray chooses the GPU of each worker.
        """
        return choose_precisions(recipe.model_copy(update={"device": self._device}), self._hardware, say)

    def _hardware(self) -> Hardware:
        """Return the precisions that all nodes with room for a worker compute at full speed."""
        # The task takes no CPU, so it never waits. Older versions of Ray hide all GPUs from such a task.
        sees_all = {"env_vars": {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}}
        ray, kind = _ray(), self._device
        task = ray.remote(num_cpus=0, runtime_env=sees_all)(lambda kind: hardware(kind))
        asked = [task.options(scheduling_strategy=_on(node)).remote(kind) for node in self._rooms()]
        return in_common(ray.get(asked))

    def _rooms(self) -> dict[str, int]:
        """Count the workers that each node has room for, if nobody else uses it; without full nodes."""
        rooms = {}
        for node in _nodes():
            resources = node["Resources"]
            # Not //: 1 // 0.2 is 4.
            for_gpus = resources.get("GPU", 0) / self._gpus if self._gpus else math.inf
            rooms[node["NodeID"]] = int(min(resources.get("CPU", 0) // self._cpus, for_gpus))
        return {node: room for node, room in rooms.items() if room}

    def workers(self) -> int:
        """Return how many items are made at the same time, if nobody else uses the cluster."""
        return max(1, sum(self._rooms().values()))

    @contextmanager
    def channel(self) -> Iterator[_Queued]:
        from ray.util.queue import Queue

        # On the node of the command, since another node may die.
        lasting = {"num_cpus": 0, "scheduling_strategy": _on(_ray().get_runtime_context().get_node_id())}
        # Ray prints long reports of each dead node and worker.
        with redirect_stdout(io.StringIO()):
            queue = Queue(actor_options=lasting | {"max_restarts": -1, "max_task_retries": -1})
            yield _Queued(queue)
            queue.shutdown(force=True)

    @contextmanager
    def pool(self, work: Work) -> Iterator[Submit]:
        ray = _ray()
        task = ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_retries=0)(_run_on_node)
        begun: list[tuple[Any, Future[Result]]] = []

        def submit(calls: Sequence[Call]) -> list[Future[Result]]:
            loads = {call.load: ray.put(call.load) for call in calls}
            references = [task.remote(replace(call, load=b""), loads[call.load]) for call in calls]
            futures = [reference.future() for reference in references]
            begun.extend(zip(references, futures, strict=True))
            return futures

        try:
            yield submit
        finally:
            for reference, future in begun:
                if not future.done():
                    ray.cancel(reference, force=True)


@dataclass(frozen=True)
class _Queued(Channel):
    """A channel through a queue on the node of the command, since nodes may share no folder."""

    queue: Queue

    def send(self, number: int, done: int, found: int) -> None:
        self.queue.put_nowait((number, done, found))

    def receive(self, running: Container[int]) -> Iterable[tuple[int, int, int]]:
        reports = self.queue.get_nowait_batch(self.queue.qsize())
        return [report for report in reports if report[0] in running]


def _ray() -> Any:
    """Import Ray late: it takes a second. It is untyped, because its types list each option of a task."""
    import ray

    return ray


def _run_on_node(call: Call, load: bytes) -> Result:
    """Run `call` with its pickled `load`, which each node receives once."""
    return run_call(replace(call, load=load))


def _on(node: str) -> Any:
    """Place a task on a node. Not softly: then Ray may choose another node if this one is slow."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


def _connect(address: str | None) -> None:
    ray = _ray()
    if ray.is_initialized():
        return
    # Ray puts the current folder first in the path of workers, unless it sends them another one.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as empty:
        quiet: dict[str, Any] = {
            "log_to_driver": False,
            "logging_level": logging.ERROR,
            "runtime_env": {"working_dir": empty},
        }
        if address is None:
            # Send no usage statistics.
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
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
    """Raise OSError if `address` has a host and a port and nobody answers: Ray would try for minutes."""
    parts = urlsplit(address if "//" in address else f"//{address}")
    if parts.hostname and parts.port:
        socket.create_connection((parts.hostname, parts.port), timeout=ANSWER_S).close()


def _nodes() -> list[dict[str, Any]]:
    """Return the living nodes, with all their resources, free or not."""
    return [node for node in _ray().nodes() if node["Alive"]]
