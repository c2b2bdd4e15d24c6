"""Processes of this machine that train one classifier together."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

from genrobust.core import GenrobustError
from genrobust.study.executors.pool import BadLuck, Counted, root_cause
from genrobust.study.executors.worker_process import Place, WorkerProcess

GRACE_S = 5.0  # after a failure, for those of the others: one of them may explain it, and the rest wait for ever


class Group:
    """A worker of a `WorkerPool` that is several processes here, each with its share of every batch."""

    def __init__(self, members: Sequence[WorkerProcess]) -> None:
        self._members = members

    def submit(self, keys: Sequence[Any]) -> Future[GenrobustError | None]:
        """Let all of them do the jobs of `keys`."""
        done = Future[GenrobustError | None]()
        threading.Thread(target=self._work, args=(keys, done), name="group", daemon=True).start()
        return done

    def _work(self, keys: Sequence[Any], done: Future[GenrobustError | None]) -> None:
        try:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                size, meeting = len(self._members), str(Path(folder) / "meeting")
                members = enumerate(self._members)
                pending = {m.submit(keys, Place(rank, size, meeting)): m for rank, m in members}
                failures: list[GenrobustError] = []
                while pending and (ended := wait(pending, GRACE_S if failures else None, FIRST_COMPLETED).done):
                    failures += [f for future in ended if (f := _failure(future, pending.pop(future))) is not None]
        except Exception as error:
            done.set_exception(error)
        else:
            done.set_result(root_cause(failures) if failures else None)

    def count(self) -> Counted:
        """Return how much of its jobs is done, which the first counts."""
        return self._members[0].count()

    def why_died(self, error: Exception) -> str:
        """Return, in a few words, why its future raised `error`: no process could be started."""
        return f"its workers could not be started: {error}"

    def stop(self) -> None:
        """End all processes at once."""
        for member in self._members:
            member.stop()


def _failure(future: Future[GenrobustError | None], member: WorkerProcess) -> GenrobustError | None:
    """Return how one of the group failed, also where it died."""
    try:
        return future.result()
    except Exception as error:
        return BadLuck(member.why_died(error))
