"""Real processes that are killed at any point of their work and run again, until they end as undisturbed ones do.

    with Starter(log) as start:
        start(["generate", recipe, "--out", out])                        a command of genrobust
        start(Call("train/small_job.py", "run", {"out": out}))           a function of a file below tests/
        kill_and_resume(start, call, out, kills=20)

A process is forked from one that has loaded what all of them need, since torch and diffusers take seconds to load. It
is killed by SIGKILL: right before a numbered write (whatever it opens for writing, renames, removes or makes below a
folder), after some seconds, or when a condition holds.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from select import select
from typing import Any

HERE = Path(__file__).parent
# The first is empty, the second tells times, the last has those of images in its names.
UNLIKE = {".lock", "rates.json", "census"}
WRITES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}  # audit events, with the path first
SERVED = ("classifiers", "data", "generate", "robustness", "train")  # rooms that commands load


@dataclass(frozen=True)
class Call:
    """A call of a function of a file below tests/, with arguments that JSON can hold."""

    file: str
    function: str
    arguments: dict[str, Any] = field(default_factory=dict)


Work = Call | list[str]  # the words of a command; words NAME=VALUE in front set its environment


@dataclass(frozen=True)
class Done:
    """How processes ended: exit codes (-9 for a killed one), writes that were counted, and what they printed."""

    codes: list[int]
    writes: list[int]
    seconds: float
    said: str


class Starter:
    """Runs work in processes of its own, all of it at the same time."""

    def __init__(self, log: Path) -> None:
        self._log, self._killer = log, log.with_name("killer")

    def __enter__(self) -> Starter:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        return self

    def to_end(self, *works: Work) -> Done:
        """Run `works`, and see that each ends with exit code 0."""
        done = self(*works)
        assert done.codes == [0] * len(works), done.said
        return done

    def said_so_far(self) -> str:
        """What works that run now have printed."""
        return self._log.read_text()

    def __exit__(self, *error: object) -> None:
        self._server.communicate()

    def __call__(
        self,
        *works: Work,
        kill_at: int | None = None,
        kill_after: float | None = None,
        kill_when: Callable[[], bool] | None = None,
        writes_to: Path | None = None,
        limit: int | None = None,
    ) -> Done:
        """Run `works` and wait for them. Writes are counted below `writes_to`; no file grows above `limit` bytes."""
        assert self._server.stdin and self._server.stdout
        self._log.write_bytes(b"")
        self._killer.unlink(missing_ok=True)
        request = {
            "works": [asdict(work) if isinstance(work, Call) else work for work in works],
            "kill_at": kill_at,
            "kill_after": kill_after,
            "writes_to": writes_to and str(writes_to),
            "limit": limit,
            "log": str(self._log),
            "killer": str(self._killer),
        }
        print(json.dumps(request, default=str), file=self._server.stdin, flush=True)
        while kill_when is not None and not select([self._server.stdout], [], [], 0.03)[0]:
            if kill_when():
                self._killer.touch()
                kill_when = None
        return Done(*json.loads(self._server.stdout.readline()), self._log.read_text())


def contents(out: Path) -> dict[str, bytes]:
    """Every file below `out` but those in UNLIKE, temporary ones too, by its path."""
    files = (p for p in sorted(out.rglob("*")) if p.is_file() and not UNLIKE & {p.name, p.parent.parent.name})
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in files}


def kill_and_resume(start: Starter, work: Work, out: Path, kills: int) -> dict[str, bytes]:
    """Kill `work` so many times, and compare what it leaves below `out` whenever it ends; returns those files.

    Kills fall by turns right before a write and at a moment, each drawn from the whole length of an undisturbed run.
    The folder is then as it was at first, and has to have files more when the work is done.
    """
    before = out.with_name(f"{out.name}.before")
    shutil.copytree(out, before) if out.exists() else before.mkdir()
    undisturbed = start(work, writes_to=out)
    assert undisturbed.codes == [0], undisturbed.said
    (total,), wanted = undisturbed.writes, contents(out)
    assert len(wanted) > len(contents(before))
    chance = random.Random(re.sub(r"/[^\s'\"]*/|:\d+\b", "", str(work)))  # folders and ports differ from run to run
    killed, finished, furthest = 0, True, 0
    while killed < kills or not finished:
        if finished:
            shutil.rmtree(out)
            shutil.copytree(before, out)
            furthest = 0
        at = chance.randint(1, total) if killed < kills and killed % 2 == 0 else None
        after = chance.uniform(0, undisturbed.seconds) if killed % 2 else None
        done = start(work, kill_at=at, kill_after=after if killed < kills else None, writes_to=out)
        assert done.codes in ([0], [-9]), done.said
        finished = done.codes == [0]
        if finished:
            assert contents(out) == wanted, f"after {killed} kills"
            assert furthest <= total / 2 or done.writes[0] < total, "it began anew"
        else:
            killed += 1
            furthest = max(furthest, at or 0)
    return wanted


def serve() -> None:
    """Answer each request, a line of JSON, with a line: exit codes, counted writes, seconds."""
    for line in sys.stdin:
        request = json.loads(line)
        functions = [prepared(work) for work in request["works"]]
        began = time.monotonic()
        forks = [fork(function, request) for function in functions]
        codes: dict[int, int] = {}
        while len(codes) < len(forks):
            for pid, _ in forks:
                if pid not in codes and (status := os.waitpid(pid, os.WNOHANG))[0]:
                    codes[pid] = os.waitstatus_to_exitcode(status[1])
            late = request["kill_after"] is not None and time.monotonic() - began > request["kill_after"]
            if late or Path(request["killer"]).exists():
                for pid, _ in forks:
                    if pid not in codes:
                        os.killpg(pid, signal.SIGKILL)
                request["kill_after"] = None
            time.sleep(0.005)
        seconds = time.monotonic() - began
        answer = [[codes[pid] for pid, _ in forks], [int(os.read(pipe, 20) or 0) for _, pipe in forks], seconds]
        for _, pipe in forks:
            os.close(pipe)
        print(json.dumps(answer), flush=True)


def prepared(work: dict[str, Any] | list[str]) -> Callable[[], object]:
    """Load what `work` needs, and return what does it."""
    if isinstance(work, dict):
        file = HERE / work["file"]
        if str(file.parent) not in sys.path:
            sys.path.append(str(file.parent))
        function = getattr(importlib.import_module(file.stem), work["function"])
        return lambda: function(**work["arguments"])
    for room in SERVED:
        package = importlib.import_module(f"genrobust.{room}")
        for name in package.__all__:
            getattr(package, name)
    cli = importlib.import_module("genrobust.cli.entry")

    def command() -> None:
        own = list(itertools.takewhile(lambda word: "=" in word, work))
        os.environ |= dict(word.split("=", 1) for word in own)
        sys.argv = ["genrobust", *work[len(own) :]]
        cli.main()

    return command


def fork(function: Callable[[], object], request: dict[str, Any]) -> tuple[int, int]:
    """Run `function` in a process and a process group of its own; returns its id, and a pipe with what it counted."""
    reads, writes = os.pipe()
    if pid := os.fork():
        os.close(writes)
        os.setpgid(pid, pid)
        return pid, reads
    code: object = 70
    try:
        os.setpgid(0, 0)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if request["limit"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (request["limit"], request["limit"]))
        count = count_writes(request["writes_to"], request["kill_at"]) if request["writes_to"] else lambda: 0
        function()
        code = 0
    except SystemExit as done:
        code = {None: 0}.get(done.code, done.code)
    except BaseException:
        traceback.print_exc()
    os.write(writes, str(count()).encode())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


def count_writes(folder: str, kill_at: int | None) -> Callable[[], int]:
    """Count this process's writes below `folder` from now on, and kill its group right before number `kill_at`."""
    count = 0

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in WRITES or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        if os.fsdecode(arguments[0]).startswith(folder):
            count += 1
            if count == kill_at:
                os.killpg(0, signal.SIGKILL)

    sys.addaudithook(look)
    return lambda: count


if __name__ == "__main__":
    sys.path += [str(HERE / "generate")]  # where tiny lies
    serve()
