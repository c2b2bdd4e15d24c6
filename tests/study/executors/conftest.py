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
from small import NODE, recipe_of

from genrobust.study.executors.ray import Ray


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes of one CPU each; tests that need another add it."""
    quick = {
        "worker_niceness": 0,  # not 15: beside other work, tests would take minutes
        "timeout_ms_task_wait_for_death_info": 20_000,  # not 1 s: on a busy machine a death would be told otherwise
        "health_check_timeout_ms": 60_000,  # not 10 s: a node of a busy machine answers late, and a dead one not at all
    }
    with pytest.MonkeyPatch.context() as patch:  # what nodes inherit, and other tests must not
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_TMPDIR", "/tmp")  # the paths of its sockets must be short
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))  # where scribe lies
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": quick, **NODE})
        made.add_node(num_cpus=1, **NODE)
    ray.init(made.address, log_to_driver=False, logging_level=logging.ERROR)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def on_ray(cluster: Cluster) -> Callable[..., Ray]:
    """The executor of a recipe that asks for something in its section execute."""

    def make(threads: int = 1, **execute: float) -> Ray:
        return Ray(recipe_of(threads=threads, device="cpu"), cluster.address, **execute)

    return make
