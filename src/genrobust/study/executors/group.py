"""Processes of this machine that train one classifier together."""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

from genrobust.core import GenrobustError
from genrobust.study.executors.pool import BadLuck, Counted, root_cause
from genrobust.study.executors.worker_process import Place, WorkerProcess

GRACE_S = 5.0  # after a failure, for those of the others: one of them may explain it, and the rest wait for ever
LOOPBACK = {"linux": "lo", "darwin": "lo0"}


def group_environment() -> Mapping[str, str]:
    """Return the environment variables of the members of a group.

    Gloo and NCCL use the loopback interface; by default they would listen on the network. DDP does not log its warning
    about `find_unused_parameters`, which `Team.wrap_ddp` needs.
    """
    quiet = {"TORCH_CPP_LOG_LEVEL": "ERROR"}
    if (name := LOOPBACK.get(sys.platform)) is None:
        return quiet
    return {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": name, **quiet}


def backend_for(on_gpus: bool) -> str:
    """Return what averages the gradients: NCCL is for Linux alone, and Gloo averages on GPUs, too, if slowly."""
    return "nccl" if on_gpus and sys.platform == "linux" else "gloo"


class Group:
    """A worker of a `WorkerPool` that is several processes here, each with its share of every batch.

    The `members` have no process yet, or one that was started for a group.
    """

    def __init__(self, members: Sequence[WorkerProcess], on_gpus: bool) -> None:
        self._members, self._backend = members, backend_for(on_gpus)

    def submit(self, keys: Sequence[Any]) -> Future[GenrobustError | None]:
        """Let all of them do the jobs of `keys`."""
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        meeting, size = str(Path(folder.name) / "meeting"), len(self._members)
        places = [Place(rank, size, meeting, self._backend) for rank in range(size)]
        pending = {member.submit(keys, place): member for member, place in zip(self._members, places, strict=True)}
        done = Future[GenrobustError | None]()

        def wait_for_members() -> None:
            failures: list[GenrobustError] = []
            with folder:
                while pending and (ended := wait(pending, GRACE_S if failures else None, FIRST_COMPLETED).done):
                    failures += [f for future in ended if (f := _failure(future, pending.pop(future))) is not None]
            done.set_result(root_cause(failures) if failures else None)

        threading.Thread(target=wait_for_members, name="group", daemon=True).start()
        return done

    def count(self) -> Counted:
        """Return how much of its jobs is done, which the first counts."""
        return self._members[0].count()

    def why_died(self, error: Exception) -> str:
        """Return, in a few words, why its future raised `error`; `submit` returns failures of members instead."""
        return f"its workers died: {error}"

    def stop(self) -> None:
        """End all processes at once: none waits for another's end, which an interrupt could cut short."""
        for member in self._members:
            member.request_stop()
        for member in self._members:
            member.stop()


def _failure(future: Future[GenrobustError | None], member: WorkerProcess) -> GenrobustError | None:
    """Return how one of the group failed, also where it died."""
    try:
        return future.result()
    except Exception:
        return BadLuck("one of its worker processes died: where memory ran out, lower batch_size or train.workers")
