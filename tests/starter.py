"""Runs command lines of genrobust as processes of their own, quickly: what they import is loaded once, before the fork.

    starter.py FOLDER      writes a tiny generator into FOLDER, then answers requests

A request is a line of JSON on standard input: {"commands": [words, ...], "kill_after": seconds or null, "limit": bytes
or null, "log": path, "killer": path}. The commands run at the same time, are killed by SIGKILL where they last longer
or where the file `killer` is made, and may write no file longer than `limit`. Words NAME=VALUE in front of a command
set its environment. The answer is a line of JSON: [exit codes, with -9 for one that was killed; seconds].
"""

import importlib
import itertools
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

LOADED = (
    "cli",
    "study.graph",
    "generate.run",
    "classifiers.predictor",
    "robustness.accuracy",
    "data.load",
    "study.estimate",
)


def start(words: list[str], log: str, limit: int | None) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        for stream in (1, 2):
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        own = list(itertools.takewhile(lambda word: "=" in word, words))
        os.environ |= dict(word.split("=", 1) for word in own)
        sys.argv = ["genrobust", *words[len(own) :]]
        code: object = 0
        try:
            sys.modules["genrobust.cli"].main()
        except SystemExit as done:
            code = done.code
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)
    finally:
        os._exit(70)


def main() -> None:
    for name in LOADED:
        importlib.import_module(f"genrobust.{name}")
    from tiny import KINDS, saved

    saved(KINDS["sd"](), Path(sys.argv[1]))
    for line in sys.stdin:
        asked = json.loads(line)
        began = time.monotonic()
        pids = [start(words, asked["log"], asked["limit"]) for words in asked["commands"]]
        codes: dict[int, int] = {}
        while len(codes) < len(pids):
            for pid in pids:
                if pid not in codes and (status := os.waitpid(pid, os.WNOHANG))[0]:
                    codes[pid] = os.waitstatus_to_exitcode(status[1])
            late = asked["kill_after"] is not None and time.monotonic() - began > asked["kill_after"]
            if late or Path(asked["killer"]).exists():
                for pid in pids:
                    if pid not in codes:
                        os.kill(pid, signal.SIGKILL)
                asked["kill_after"] = None
            time.sleep(0.005)
        print(json.dumps([[codes[pid] for pid in pids], time.monotonic() - began]), flush=True)


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parent / "generate")  # where tiny lies
    main()
