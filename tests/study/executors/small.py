"""What the tests of executors share: small recipes, small nodes, and counting files."""

from __future__ import annotations

import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from ray.cluster_utils import Cluster
from small_study import recipe_of as recipe_of

from genrobust.recipe import Recipe

NODE: dict[str, Any] = {"object_store_memory": 80_000_000, "include_dashboard": False}


def count_of(folder: Path, pattern: str) -> int:
    return len(list(folder.glob(pattern)))


def written(recipe: Recipe, folder: Path) -> Path:
    """The recipe as a file in `folder`."""
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    return file


def running() -> Iterator[tuple[int, int, str]]:
    """The id, parent and title of each process that has not ended."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # of one that has just ended
            state, parent, *_ = (process / "stat").read_text().rpartition(")")[2].split()
            if state != "Z":
                yield int(process.name), int(parent), (process / "cmdline").read_text()


def actors(cluster: Cluster, kind: str) -> list[list[int]]:
    """The processes of the actors of a class called `kind` on each node of `cluster`, by their id."""
    raylets = [node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()]
    found: list[list[int]] = [[] for _ in raylets]
    for id, parent, title in running():
        if parent in raylets and title.split(".")[0].rstrip("\0 ") == f"ray::{kind}":
            found[raylets.index(parent)].append(id)
    return found


def limit(pid: int, memory: int, file_size: int) -> None:
    """Let a process take so many bytes of address space more than it has, and write no larger files."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    memory += pages * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (memory, memory))
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (file_size, file_size))


@contextmanager
def watching(look: Callable[[], None]) -> Iterator[None]:
    """Call `look` again and again beside the block; what it raises comes out at its end."""
    ends, raised = threading.Event(), []

    def watch() -> None:
        while not ends.wait(0.05):  # a look reads all of /proc
            try:
                look()
            except BaseException as error:
                raised.append(error)
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()
    if raised:
        raise raised[0]
