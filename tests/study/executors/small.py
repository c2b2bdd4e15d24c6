"""What the tests of executors share: small recipes, small nodes, and counting files."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
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


@contextmanager
def another_node(cluster: Cluster, **options: Any) -> Iterator[Any]:
    """A node more in the cluster, for the block; whatever happens there, the next test finds the nodes of before."""
    node = cluster.add_node(**options, **NODE)
    try:
        yield node
    finally:
        if node in cluster.list_all_nodes():
            cluster.remove_node(node)
        cluster.wait_for_nodes(timeout=60)  # until Ray knows that it is gone: other tests count nodes


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


def children() -> list[int]:
    """The worker processes of this one, forked from its server or not."""
    mine = [(id, title) for id, parent, title in running() if parent == os.getpid()]
    servers = [id for id, title in mine if "forkserver" in title]
    return [id for id, title in mine if "spawn_main" in title] + [id for id, of, _ in running() if of in servers]


def gone(pids: Collection[int], seconds: float = 30) -> bool:
    """Whether these processes have ended, or end in that time."""
    until = time.monotonic() + seconds
    while any(id in pids for id, _, _ in running()):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


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
