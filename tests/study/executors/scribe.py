"""Jobs that write down what happens to them, and fail on demand; fast, since they load no torch.

A key is "what:name": `what` is "write", "fail" or "die" (always), "die-once" or "raise-once" (at the first try), "hang"
(until it is killed), "meet-N" (it waits for N processes), or "mistake" (the user's).
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from genrobust.core import DiskFull, UserError, progress_bar
from genrobust.study.executors.work import Item, Work

SIZE = 4


@dataclass(frozen=True)
class Scribe:
    """Loads what writes into `folder`: a file a job and one a try, and one a load."""

    folder: Path

    def __call__(self) -> Callable[[Sequence[str]], None]:
        (self.folder / f"loaded-{os.getpid()}").touch(exist_ok=False)
        return self.write

    def write(self, keys: Sequence[str]) -> None:
        for key in keys:
            what, name = key.split(":")
            tries = len(list(self.folder.glob(f"try-*-{name}")))
            with (self.folder / f"try-{tries}-{name}").open("x") as file:
                file.write(str(os.getpid()))
            with progress_bar("writing", SIZE) as bar:
                bar.advance(SIZE - 1)
                if what == "die" or (what == "die-once" and tries == 0):
                    os._exit(1)
                if what == "hang":
                    tqdm.get_lock()  # as what loads networks does
                    (self.folder / f"hanging-{os.getpid()}").touch()
                    threading.Event().wait()
                if what.startswith("meet-"):
                    while len(list(self.folder.glob("loaded-*"))) < int(what.removeprefix("meet-")):
                        time.sleep(0.01)
                if what == "raise-once" and tries == 0:
                    raise KeyError(name)
                if what == "fail":
                    raise DiskFull(f"no room for {name}")
                if what == "mistake":
                    raise UserError(f"{name} is wrong")
                bar.advance(1)
            gpus = {"process": os.getpid(), "gpus": os.environ.get("CUDA_VISIBLE_DEVICES")}
            told = {"folder": str(Path.cwd()), "threads": os.environ.get("OMP_NUM_THREADS"), **gpus}
            (self.folder / f"done-{name}").write_text(json.dumps(told))


def work(folder: Path, *keys: str) -> Work:
    return Work("writing", [Item(key, f"job {key}", SIZE) for key in keys], Scribe(folder))
