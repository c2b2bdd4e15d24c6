"""A Ray cluster of two nodes on this machine, which all tests of this folder share."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from genrobust.execute.ray import Ray
from genrobust.recipe import Recipe, parse_recipe

sys.path.append(str(Path(__file__).parents[1] / "generate"))  # where tiny lies
SMALL = {"object_store_memory": 80_000_000, "include_dashboard": False}


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes of one CPU each; tests that need another add it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])  # workers find what tests do
    quick = {"_system_config": {"worker_niceness": 0}}  # not 15: beside other work, tests would take minutes
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **quick, **SMALL})
    made.add_node(num_cpus=1, **SMALL)
    ray.init(made.address, log_to_driver=False, logging_level=logging.ERROR)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def on_ray(cluster: Cluster) -> Callable[..., Ray]:
    """The executor of a recipe that asks for something in its section execute."""

    def make(threads: int = 1, **execute: float) -> Ray:
        return Ray(recipe_of(threads=threads, device="cpu", execute=execute), cluster.address)

    return make


def recipe_of(**keys: object) -> Recipe:
    return parse_recipe({"name": "small", "arms": [{"name": "real", "mixture": "real"}], **keys})


def count_of(folder: Path, pattern: str) -> int:
    return len(list(folder.glob(pattern)))
