"""Work on a Ray cluster: actors that load once, and pieces that are tried again elsewhere when one of them dies."""

from __future__ import annotations

import io
import logging
import os
import time
import traceback
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import RayError

from genrobust.devices import device_kind
from genrobust.errors import DiskFull, GenrobustError, UserError
from genrobust.execute.ledger import Ledger, Outcome, Task
from genrobust.execute.pieces import Do, Work
from genrobust.files import mirrors
from genrobust.progress import Bar, counting, progress_bar
from genrobust.recipe import Recipe

LOOK_EVERY_S = 1.0  # at the workers' progress, and for nodes that came or went
WAIT_S = 600.0  # for a node, where none is left: what starts nodes on demand takes minutes
OBJECT_STORE_BYTES = 100_000_000  # of a Ray that is started here: little goes through it, everything lies on the disk


class Ray:
    """The workers of the cluster at `address`, or of a Ray that is started on this machine alone.

    Each takes of its node what `recipe.execute` says. Raises UserError where no cluster answers, or none of its nodes
    has so much.
    """

    elsewhere = True

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

    def placed(self, recipe: Recipe) -> Recipe:
        """`recipe` on the kind of device that the workers have; which GPU a worker gets is Ray's choice."""
        return recipe.model_copy(update={"device": self._device})

    def capacity(self) -> int:
        """How many workers the living nodes have room for, if nobody else uses them."""
        return sum(
            int(min(node.get("CPU", 0) // self._cpus, node.get("GPU", 0) // self._gpus if self._gpus else 1e9))
            for node in _nodes()
        )

    def hire(self, load: bytes, unit: str) -> Any:
        """A new actor, which comes up as soon as a node has room for it."""
        takes: dict[str, Any] = {"num_cpus": self._cpus, "num_gpus": self._gpus, "concurrency_groups": {"asked": 1}}
        return ray.remote(**takes)(_Worker).remote(load, unit, str(Path.cwd()), self._threads, mirrors())

    def run(self, work: Work) -> None:
        """Do all of `work`; what fails or dies is tried again, and reported piece by piece when the rest is done.

        Raises the first UserError of a worker at once, and else as `Ledger` does.
        """
        if not work.pieces:
            return
        total = sum(piece.size for piece in work.pieces)
        # Ray tells of each dead node and worker on standard output, at length; the ledger does in a line.
        with progress_bar(work.what, total, work.unit) as bar, redirect_stdout(io.StringIO()):
            crew = _Crew(self, work, bar)
            try:
                crew.work()
            finally:
                crew.dismiss()


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


# ------------------------------------------------------------------------------------------ on a node


class _Worker:
    """An actor: loads what its pieces share at the first of them, and counts as they go."""

    def __init__(self, load: bytes, unit: str, folder: str, threads: int, alone: bool) -> None:
        # Ray sets it to the CPUs that an actor takes. OpenMP reads it when torch is loaded, which `load` does.
        os.environ["OMP_NUM_THREADS"] = str(threads)
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line has it
        self._load, self._unit, self._folder, self._alone = load, unit, folder, alone
        self._do: Do | None = None
        self._begun = self._count = 0

    def node(self) -> str:
        """Where it is."""
        return str(ray.get_runtime_context().get_node_id())

    def do(self, key: Any) -> Outcome:
        """Do the piece `key`, the next of those that `counted` tells of."""
        self._begun, self._count = self._begun + 1, 0
        try:
            self._enter()
            if self._do is None:
                # No file is unpickled: these bytes are the command's own, which Ray carries as it does every argument.
                self._do = cloudpickle.loads(self._load)()
            with counting(self._unit, self._add):
                self._do([key])
        except GenrobustError as error:
            kind = next(kind for kind in (UserError, DiskFull, GenrobustError) if isinstance(error, kind))
            return Outcome(str(error), kind, traceback.format_exc())
        except Exception as error:
            return Outcome(f"unexpected {type(error).__name__}: {error}", trace=traceback.format_exc())
        return Outcome()

    @ray.method(concurrency_group="asked")
    def counted(self) -> tuple[int, int]:
        """How many pieces were begun, and how far the last of them is."""
        return self._begun, self._count

    def _add(self, count: int) -> None:
        self._count += count

    def _enter(self) -> None:
        try:
            os.chdir(self._folder)  # what paths are relative to
        except OSError as error:
            if self._alone:  # the output lies at an URL; a path of data that does not lie here is told when it is read
                return
            why = f"a node cannot enter {self._folder} ({error.strerror})"
            raise GenrobustError(f"{why}: run it in a folder that all nodes share, under the same path") from error


# ------------------------------------------------------------------------------------------ at home


@dataclass
class _Hand:
    """A worker that is up: it has begun so many pieces, and the bar has `counted` so much of the last.

    `asked` is the answer to how far it is, where that is still to come.
    """

    actor: Any
    node: str
    begun: int = 0
    counted: int = 0
    asked: Any = None


class _Crew:
    """The workers of one Work, and who does what."""

    def __init__(self, cluster: Ray, work: Work, bar: Bar) -> None:
        self._cluster, self._bar, self._unit = cluster, bar, work.unit
        self._load = cloudpickle.dumps(work.load)
        self._ledger = Ledger(work.what, work.pieces, cluster.capacity())
        self._coming: dict[Any, Any] = {}  # actors, by the answer that says where they came up
        self._idle: list[_Hand] = []
        self._busy: dict[Any, tuple[_Hand, Task]] = {}  # by the answer that says how it ended
        self._had_room = time.monotonic()

    def work(self) -> None:
        """Until every piece is done, or has failed for good."""
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
        self._ledger.close()

    def dismiss(self) -> None:
        """Let everybody go, in the middle of what they do: all of it survives that."""
        hands = [*self._idle, *(hand for hand, _ in self._busy.values())]
        for actor in [*self._coming.values(), *(hand.actor for hand in hands)]:
            ray.kill(actor)

    def _hire(self) -> None:
        capacity = self._cluster.capacity()
        if capacity:
            self._had_room = time.monotonic()
        elif time.monotonic() - self._had_room > WAIT_S:
            self._ledger.close(f"the cluster has no node for a worker left, and none came in {WAIT_S / 60:.0f} minutes")
        wanted = min(capacity, len(self._ledger.waiting) + len(self._busy))
        for _ in range(wanted - len(self._coming) - len(self._idle) - len(self._busy)):
            actor = self._cluster.hire(self._load, self._unit)
            self._coming[actor.node.remote()] = actor

    def _came(self, answer: Any) -> None:
        actor = self._coming.pop(answer)
        try:
            self._idle.append(_Hand(actor, ray.get(answer)))
        except RayError as error:  # on a node that died just now, or that has no genrobust
            self._ledger.failure(_why(error))

    def _assign(self) -> None:
        nodes = {hand.node for hand in (*self._idle, *(hand for hand, _ in self._busy.values()))}
        for hand in tuple(self._idle):
            task = self._ledger.next_for(hand.node, nodes)
            if task is not None:
                self._idle.remove(hand)
                hand.begun, hand.counted = hand.begun + 1, 0
                self._busy[hand.actor.do.remote(task.piece.key)] = hand, task

    def _ended(self, answer: Any) -> None:
        hand, task = self._busy.pop(answer)
        try:
            outcome: Outcome = ray.get(answer)
        except RayError as error:
            outcome = Outcome(_why(error), trace=str(error))
        if outcome.error:
            ray.kill(hand.actor)  # the process itself may be at fault, such as by memory that it does not give back
        else:
            self._idle.append(hand)
        self._show(hand, 0 if outcome.error else task.piece.size)
        self._ledger.tried(task, hand.node, outcome)

    def _ask(self) -> None:
        """Move the bar by what the workers have made since."""
        for hand, task in self._busy.values():
            if hand.asked is not None and ray.wait([hand.asked], timeout=0)[0]:
                try:
                    begun, count = ray.get(hand.asked)
                except RayError:
                    continue  # it died, and its piece will tell
                hand.asked = None
                if begun == hand.begun:
                    self._show(hand, min(count, task.piece.size))
            if hand.asked is None:
                hand.asked = hand.actor.counted.remote()

    def _show(self, hand: _Hand, count: int) -> None:
        self._bar.advance(count - hand.counted)
        hand.counted = count


def _why(error: RayError) -> str:
    """What became of a worker, in a few words: Ray says it in many."""
    text = " ".join(str(error).split())
    signs = {
        "memory usage threshold": "its worker was killed, since its node had run out of memory",
        "its node has died": "its node died",
        "is unavailable": "its worker does not answer any more",
        "its worker process has died": "its worker died",
    }
    return next((words for sign, words in signs.items() if sign in text), f"its worker died: {text[:300]}")
