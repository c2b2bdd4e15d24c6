"""One writer a folder among machines that share nothing but an object store: leases, which lapse where one dies.

Whoever wants a folder writes an object of its own beside those of others, and lists them afterwards: of two that come
at the same time, one at least sees the other, and gives way. So a store needs no conditional writes, only lists that
show what was written (S3, Google and Azure do). Ages are differences of the store's own times: no clocks must agree.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import socket
import threading
import time
from typing import Any

from genrobust.core.errors import GenrobustError, UserError
from genrobust.core.remote import time_of

LAPSE_S = 120.0  # without a renewal, a lease has lapsed: its holder is dead, asleep or cut off
RENEW_S = 30.0
TRIES = 3  # of two that gave way to each other, one comes first at the next
log = logging.getLogger(__name__)
_patient = False


def outlast_the_dead() -> None:
    """From now on in this process, refuse a folder only where its holder is seen alive, and else wait for its lapse.

    For workers: one that died and did the same work before may have left its lease.
    """
    global _patient
    _patient = True


class Lease:
    """A hold of what `url` names for the user, written below `place` of the file system `fs`; with others if `shared`.

    `copy` names this machine's copy of the place where whoever takes the lease holds the local lock, so that one that a
    process here left is known to be dead; else "".
    """

    def __init__(self, fs: Any, place: str, url: str, copy: str, shared: bool) -> None:
        self._fs, self._place, self._url, self._copy, self._shared = fs, place, url, copy, shared
        self._name = f"{'shared' if shared else 'alone'}-{copy}-{secrets.token_hex(8)}"
        self._owner = f"{socket.gethostname()}, process {os.getpid()}".encode()
        self._done = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._written = 0.0
        self._lost = False

    def take(self, wait: bool) -> None:
        """Hold it; raises UserError that says who does where another does, unless told to `wait`."""
        tries, ages = 0, dict[str, float]()
        while rival := self._rival():
            name, age = rival
            tries += 1
            is_alive, ages[name] = age < ages.get(name, age), age  # younger than a look ago: it was renewed
            if not wait and tries >= TRIES and (is_alive or not _patient):
                raise UserError(
                    f"another process is writing to {self._url} ({self._owner_of(name)}): wait for it, stop it, or "
                    f"choose another --out. If it died, its hold lapses in {max(1, round(LAPSE_S - age))} s"
                )
            if tries == 1:
                log.info("waiting for another machine that writes to %s", self._url)
            time.sleep(random.uniform(0.2, 1.0))
        self._renewer.start()

    def check(self) -> None:
        """Raise GenrobustError where the lease has lapsed, so that another may hold it."""
        if self._lost or time.time() - self._written > LAPSE_S:
            raise GenrobustError(
                f"this process has not reached {self._url} for more than {LAPSE_S:.0f} s, so that another may write "
                "there now: run the same command again; what is there is whole"
            )

    def give_back(self) -> None:
        """Hold it no longer. Where the store does not answer, it lapses by itself."""
        self._done.set()
        self._renewer.join()
        try:
            self._fs.rm_file(f"{self._place}/{self._name}")
        except Exception as error:  # of whatever kind the file system raises
            log.warning("cannot give back %s, which lapses by itself in %.0f s: %s", self._url, LAPSE_S, error)

    def _rival(self) -> tuple[str, float] | None:
        """Write the lease; the name and age in seconds of one in its way, for which it is then taken back."""
        self._write()
        try:
            ages = self._ages()
        except BaseException:
            self._remove(self._name)
            raise
        for name, age in ages.items():
            if name == self._name or (self._shared and name.startswith("shared-")):
                continue
            of_a_dead_process = self._copy and name.split("-")[1] == self._copy
            if of_a_dead_process or age > LAPSE_S:
                self._remove(name)
                continue
            self._remove(self._name)
            return name, age
        return None

    def _ages(self) -> dict[str, float]:
        """How much older, in seconds, each lease is than this one."""
        self._fs.invalidate_cache()
        times = {
            str(i["name"]).rpartition("/")[2]: time_of(i) for i in self._fs.find(self._place, detail=True).values()
        }
        mine = times.get(self._name)
        return {name: 0.0 if when is None or mine is None else float(mine - when) for name, when in times.items()}

    def _write(self) -> None:
        began = time.time()
        self._fs.pipe_file(f"{self._place}/{self._name}", self._owner)
        self._written = began

    def _remove(self, name: str) -> None:
        try:
            self._fs.rm_file(f"{self._place}/{name}")
        except FileNotFoundError:
            return

    def _owner_of(self, name: str) -> str:
        try:
            return bytes(self._fs.cat_file(f"{self._place}/{name}")).decode()
        except FileNotFoundError:
            return "which has just ended"

    def _renew(self) -> None:
        while not self._done.wait(RENEW_S):
            before = self._written
            try:
                self._write()
            except Exception as error:  # of whatever kind; `check` tells when it matters
                log.debug("cannot renew the hold of %s: %s", self._url, error)
            if time.time() - before > LAPSE_S:
                self._lost = True
                return
