"""Work on a Ray cluster: actors that load once, and jobs that are tried again elsewhere when one of them dies."""

from __future__ import annotations

import io
import logging
import math
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import ray
from ray import cloudpickle
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from genrobust.classifiers import settle
from genrobust.core import Bar, Hardware, MissingPackage, UserError, device_kind, in_common, mirrors, progress_bar
from genrobust.recipe import Recipe
from genrobust.study.executors.ledger import Ledger, Outcome, Task
from genrobust.study.executors.ray_workers import Doer, Group, Leader, Worker, hardware_here, why_died
from genrobust.study.jobs import Work

LOOK_EVERY_S = 1.0  # at the workers' progress, and for nodes that came or went
LOOK_S = 300.0  # for a node's answer to what it computes fast: loading torch from a slow disk can take a minute
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

    Each takes of its node what `recipe.execute` says. Raises UserError where no cluster answers, or none of its nodes
    has so much.
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
                f"a worker takes {self._cpus} CPUs and {self._gpus:g} GPUs, and no node of the cluster has so much "
                f"(they have: {there}): lower execute.num_cpus and execute.num_gpus, or start such a node first"
            )

    def placed(self, recipe: Recipe, say: Callable[[str], None] = lambda line: None) -> Recipe:
        """Return `recipe` on the kind of device that the workers have, with the precisions that all nodes are fast in.

        Which GPU a worker gets is Ray's choice.
        """
        return settle(recipe.model_copy(update={"device": self._device}), self._device, self._hardware, say)

    def _hardware(self) -> Hardware:
        """What all nodes with room for a worker compute at full speed; a node that dies meanwhile is left out."""
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

    def hire(self, doer: Doer) -> Any:
        """A new actor, which comes up as soon as a node has room for it."""
        takes: dict[str, Any] = {"num_cpus": self._cpus, "num_gpus": self._gpus, "concurrency_groups": {"asked": 1}}
        return ray.remote(**takes)(Worker).remote(doer, self._threads)

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

    def group(self, workers: int, store: str) -> Group:
        """So many workers that do jobs together; `store` is a folder on this machine."""
        return Group(workers, {"CPU": self._cpus, "GPU": self._gpus}, self._threads, store)

    def run(self, work: Work) -> None:
        """Do all of `work`; what fails or dies is tried again, and reported job by job when the rest is done.

        Pieces of several workers come last, one after another. Raises the first UserError of a worker at once, and else
        as `Ledger` does.
        """
        if not work.jobs:
            return
        sizes = sorted({job.workers for job in work.jobs})
        for workers in sizes:
            self.require(workers)
        ledger = Ledger(work.what, [], self.capacity())
        doer = Doer(cloudpickle.dumps(work.load), work.unit, str(Path.cwd()), mirrors())
        # Ray tells of each dead node and worker on standard output, at length; the ledger does in a line.
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as store,
            progress_bar(work.what, work.size, work.unit, seconds=work.seconds) as bar,
            redirect_stdout(io.StringIO()),
        ):
            for workers in sizes:
                ledger.add([job for job in work.jobs if job.workers == workers])
                hires = self if workers == 1 else _Groups(self, self.group(workers, store))
                crew = _Crew(hires, doer, ledger, bar)
                try:
                    crew.work()
                finally:
                    crew.dismiss()
            ledger.close()


class _Hires(Protocol):
    """Who does jobs: how many at a time, and a new one of them."""

    def capacity(self) -> int: ...

    def hire(self, doer: Doer) -> Any: ...


class _Groups:
    """One group at a time, on all the workers that it wants."""

    def __init__(self, cluster: Ray, group: Group) -> None:
        self._cluster, self._group = cluster, group

    def capacity(self) -> int:
        return int(self._cluster.capacity() >= self._group.workers)

    def hire(self, doer: Doer) -> Any:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        how: dict[str, Any] = {"num_cpus": 0, "concurrency_groups": {"asked": 1}, "scheduling_strategy": here}
        return ray.remote(**how, runtime_env={"env_vars": RAY_TRAIN})(Leader).remote(doer, self._group)


def _connect(address: str | None) -> None:
    if ray.is_initialized():
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
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
    """What each living node has, whether it is free or not."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


@dataclass
class _Hand:
    """A worker that is up: it has begun so many jobs, and the bar has `counted` so much of the last.

    `asked` is the answer to how far it is, where that is still to come.
    """

    actor: Any
    node: str
    begun: int = 0
    counted: int = 0
    asked: Any = None


class _Crew:
    """The workers of one Work, and who does what waits in its ledger."""

    def __init__(self, hires: _Hires, doer: Doer, ledger: Ledger, bar: Bar) -> None:
        self._hires, self._doer, self._ledger, self._bar = hires, doer, ledger, bar
        self._coming: dict[Any, Any] = {}  # actors, by the answer that says where they came up
        self._idle: list[_Hand] = []
        self._busy: dict[Any, tuple[_Hand, Task]] = {}  # by the answer that says how it ended
        self._had_room = time.monotonic()

    def work(self) -> None:
        """Until every job that waits is done, or has failed for good."""
        while self._ledger.waiting or self._busy:
            self._hire()
            self._assign()
            answers = [*self._coming, *self._busy]
            ready = ray.wait(answers, timeout=LOOK_EVERY_S)[0] if answers else []
            if not answers:
                time.sleep(LOOK_EVERY_S)
            for answer in ready:
                if answer in self._coming:
                    self._came(answer)
                else:
                    self._ended(answer)
            self._ask()

    def dismiss(self) -> None:
        """Let everybody go, in the middle of what they do: all of it survives that."""
        hands = [*self._idle, *(hand for hand, _ in self._busy.values())]
        for actor in [*self._coming.values(), *(hand.actor for hand in hands)]:
            ray.kill(actor)

    def _hire(self) -> None:
        capacity = self._hires.capacity()
        if capacity:
            self._had_room = time.monotonic()
        elif time.monotonic() - self._had_room > WAIT_S:
            self._ledger.close(f"the cluster has no node for a worker left, and none came in {WAIT_S / 60:.0f} minutes")
        wanted = min(capacity, len(self._ledger.waiting) + len(self._busy))
        for _ in range(wanted - len(self._coming) - len(self._idle) - len(self._busy)):
            actor = self._hires.hire(self._doer)
            self._coming[actor.node.remote()] = actor

    def _came(self, answer: Any) -> None:
        actor = self._coming.pop(answer)
        try:
            self._idle.append(_Hand(actor, ray.get(answer)))
        except RayError as error:  # on a node that died just now, or that has no genrobust
            self._ledger.failure(why_died(error))

    def _assign(self) -> None:
        nodes = {hand.node for hand in (*self._idle, *(hand for hand, _ in self._busy.values()))}
        for hand in tuple(self._idle):
            task = self._ledger.next_for(hand.node, nodes)
            if task is not None:
                self._idle.remove(hand)
                hand.begun, hand.counted = hand.begun + 1, 0
                self._busy[hand.actor.do.remote(task.job.key)] = hand, task

    def _ended(self, answer: Any) -> None:
        hand, task = self._busy.pop(answer)
        try:
            outcome: Outcome = ray.get(answer)
        except RayError as error:
            outcome = Outcome(why_died(error), trace=str(error))
        if outcome.error:
            ray.kill(hand.actor)  # the process itself may be at fault, such as by memory that it does not give back
        else:
            self._idle.append(hand)
        self._show(hand, 0 if outcome.error else task.job.size)
        self._ledger.tried(task, hand.node, outcome)

    def _ask(self) -> None:
        """Move the bar by what the workers have made since."""
        for hand, task in self._busy.values():
            if hand.asked is not None and ray.wait([hand.asked], timeout=0)[0]:
                try:
                    begun, count = ray.get(hand.asked)
                except RayError:
                    continue  # it died, and its job will tell
                hand.asked = None
                if begun == hand.begun:
                    self._show(hand, min(count, task.job.size))
            if hand.asked is None:
                hand.asked = hand.actor.counted.remote()

    def _show(self, hand: _Hand, count: int) -> None:
        self._bar.advance(count - hand.counted)
        hand.counted = count
