"""What the tests of executors share: small recipes, small nodes, and counting files."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
import yaml
from ray.cluster_utils import Cluster
from safetensors.torch import load_file
from small_study import CLASSES, REAL, folders_section, recipe_of as recipe_of

from genrobust.recipe import Recipe
from genrobust.study import Study, TrainingRun

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


def of_two(write_folder: Callable[..., Path], **execute: object) -> Recipe:
    """An arm that two workers train together, with no batch norm and nothing drawn at random, and one of one worker."""
    sets = {name: write_folder(name, name, 6, CLASSES) for name in ("train", "test")}
    exact = {"augmentation": "none", "precision": "float32", "optimizer": "sgd", "learning_rate": 0.05}
    size = {"architecture": "test_vit", "image_size": 32, "batch_size": 12, "steps": 60, "warmup_steps": 2}
    return recipe_of(
        threads=1,
        device="cpu",
        data=folders_section(sets),
        generator=None,
        train={**size, **exact, "validate_every": 20, "save_every": 5, "workers": 2},
        arms=[REAL, REAL | {"name": "alone", "train": {"workers": 1}}],
        execute=execute,
        robustness={"baselines": None},
    )


def kill_while_training(study: Study, run: TrainingRun, victim: Callable[[], int]) -> None:
    """Train `run`, and kill the process `victim` once a state is saved."""
    with ThreadPoolExecutor(1) as beside:
        training = beside.submit(study.train, [run])
        while not count_of(study.out, "checkpoints/*/state-*"):
            assert not training.done()
            time.sleep(0.01)
        os.kill(victim(), signal.SIGKILL)
        training.result()


def assert_same_up_to_rounding(checkpoint: Path, other: Path) -> None:
    first, second = (load_file(folder / "model.safetensors") for folder in (checkpoint, other))
    assert first.keys() == second.keys()
    for name, tensor in second.items():
        torch.testing.assert_close(first[name], tensor, atol=2e-5, rtol=1e-4)


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


def second_of(workers: Collection[int]) -> int:
    """Of the processes in which one of `workers` has a classifier trained together, the second."""
    return max(id for id, parent, title in running() if parent in workers and "spawn_main" in title)


def gone(pids: Collection[int], seconds: float = 30) -> bool:
    """Whether these processes have ended, or end in that time."""
    until = time.monotonic() + seconds
    while any(id in pids for id, _, _ in running()):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def tasks(cluster: Cluster, name: str) -> list[list[int]]:
    """The processes that do tasks of a function called `name` on each node of `cluster`, by their id."""
    raylets = [node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()]
    found: list[list[int]] = [[] for _ in raylets]
    for id, parent, title in running():
        if parent in raylets and title.split(".")[0].rstrip("\0 ") == f"ray::{name}":
            found[raylets.index(parent)].append(id)
    return found


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
