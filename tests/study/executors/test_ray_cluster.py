"""A real Ray cluster of two nodes: what dies is tried again, and a study is that of one process, byte for byte."""

from __future__ import annotations

import json
import logging
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import ray
import yaml
from kill_and_resume import contents as all_contents
from ray.cluster_utils import Cluster
from scribe import SIZE, work
from small import (
    NODE,
    another_node,
    count_of,
    recipe_of,
    written,
)
from small_study import CLASSES, REAL, TRAIN, contents, folders_section, genrobust, listens_to_ctrl_c

from genrobust.core import GenrobustError, UserError, counting
from genrobust.recipe import Recipe
from genrobust.study import Executor, Study, open_executor
from genrobust.study.executors import ray_cluster as kind
from genrobust.study.executors.workers import TRIES, Workers

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
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


def ray_of(recipe: Recipe, **execute: object) -> Workers:
    """The executor of a recipe that has these keys in its section execute."""
    return open_executor(recipe, Path(), "ray", **execute)


@pytest.fixture
def on_ray(cluster: Cluster) -> Callable[..., Workers]:
    """The executor of a recipe that asks for something, on the cluster."""

    def make(threads: int = 1, **execute: float) -> Workers:
        return ray_of(recipe_of(threads=threads, device="cpu"), address=cluster.address, **execute)

    return make


def test_each_job_is_done_once_by_workers_that_load_once(on_ray, tmp_path):
    names = [f"p{index}" for index in range(12)]
    shown = []
    with counting("images", lambda count, note, found: shown.append(count)):
        on_ray(threads=3, num_cpus=1).run(work(tmp_path, *(f"write:{name}" for name in names)))
    assert sum(shown) == SIZE * len(names)
    assert [count_of(tmp_path, f"try-*-{name}") for name in names] == [1] * len(names)
    assert 1 <= count_of(tmp_path, "loaded-*") <= 2  # the nodes have room for two
    told = [json.loads((tmp_path / f"done-{name}").read_text()) for name in names]
    assert {(of["folder"], of["threads"], of["gpus"]) for of in told} == {(str(Path.cwd()), "3", None)}


def test_what_dies_is_tried_again_then_reported_and_the_rest_is_done(on_ray, tmp_path):
    shown = []
    with (
        counting("images", lambda count, note, found: shown.append(count)),
        pytest.raises(GenrobustError, match="writing: 1 of") as error,
    ):
        on_ray().run(work(tmp_path, "write:a", "die-once:b", "die:c", "write:d"))
    assert error.value.exit_code == 1 and "job die:c: " in str(error.value)
    assert [count_of(tmp_path, f"try-*-{name}") for name in "abcd"] == [1, 2, TRIES, 1]
    assert [count_of(tmp_path, f"done-{name}") for name in "abcd"] == [1, 1, 0, 1]
    assert sum(shown) == SIZE * 3, "what was made of a job that failed is taken back"


def test_a_disk_that_is_full_may_be_that_of_one_node(on_ray, tmp_path):
    with pytest.raises(GenrobustError, match="job fail:a: no room") as error:
        on_ray().run(work(tmp_path, "fail:a"))
    assert count_of(tmp_path, "try-*-a") == TRIES and error.value.exit_code == 1


def test_a_mistake_of_the_users_comes_out_at_once_as_it_would_here(on_ray, tmp_path):
    with pytest.raises(UserError) as error:
        on_ray().run(work(tmp_path, "mistake:a"))
    assert str(error.value) == "a is wrong"
    assert error.value.exit_code == 2
    assert count_of(tmp_path, "try-*-a") == 1
    assert "UserError: a is wrong" in error.value.__notes__[0], "for --debug, where it came from"


def test_more_than_a_node_has_is_refused_with_what_there_is(on_ray):
    with pytest.raises(UserError, match=r"64 CPUs .*1 CPUs.*execute\.num_cpus"):
        on_ray(num_cpus=64)
    with pytest.raises(UserError, match="2 GPUs"):
        on_ray(num_gpus=2)


@pytest.mark.parametrize(("share", "count"), [(0.1, 10), (0.2, 5), (0.3, 3), (1, 1)])
def test_as_many_workers_share_a_gpu_as_fit_on_it(monkeypatch, share, count):
    monkeypatch.setattr(kind, "_connect", lambda address: None)
    monkeypatch.setattr(kind, "_nodes", lambda: [{"NodeID": "one", "Resources": {"CPU": 16.0, "GPU": 1.0}}])
    assert ray_of(recipe_of(device="cpu", threads=1), num_gpus=share).workers() == count


def test_threads_that_no_node_has_are_shared_and_the_device_is_that_of_the_nodes(on_ray):
    assert on_ray(threads=16).workers() == 2
    said = []
    placed = ray_of(recipe_of(device="auto")).placed(recipe_of(device="auto"), said.append)
    assert placed.device == "cpu"
    assert placed == Executor().placed(recipe_of(device="cpu")), "both nodes are this machine"
    assert len(said) == 1 and "all nodes" in said[0]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the variable is for its instructions alone")
def test_one_node_without_bfloat16_decides_for_all(cluster, on_ray):
    executor = on_ray()
    with another_node(cluster, num_cpus=1, env_vars={"ONEDNN_MAX_CPU_ISA": "AVX2"}):
        said = []
        placed = executor.placed(recipe_of(device="cpu"), said.append)
        assert (placed.generator and placed.generator.dtype, placed.train.precision) == ("float32", "float32")
        assert "bfloat16" in said[0]


@pytest.fixture
def generating(write_folder, tiny_generator):
    """Three classes, a tiny generator and a small classifier, where a stage takes a second or so."""
    sets = {name: write_folder(name, name, 6, CLASSES) for name in ("train", "test", "solid")}
    return recipe_of(
        threads=1,
        device="cpu",
        data=folders_section(sets),
        generator={"model": str(tiny_generator), "steps": 2},
        generate={"per_class": 40, "shard_size": 6, "batch_size": 6},
        train=TRAIN | {"batch_size": 8, "steps": 6, "warmup_steps": 2},
        seeds=[0, 1],
        arms=[REAL, REAL | {"name": "same"}],
        robustness={"baselines": None},
        execute={"executor": "ray", "num_cpus": 1},
    )


@pytest.fixture
def short():
    """A folder for a Ray's sockets, whose paths must not be long."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="r", ignore_cleanup_errors=True) as folder:
        yield folder


def test_a_node_that_dies_while_generating_costs_no_image(generating, cluster, tmp_path):
    takes = {"address": cluster.address, "num_cpus": 2}
    out = tmp_path / "ray"
    with another_node(cluster, num_cpus=2) as first, ThreadPoolExecutor(1) as beside:  # only it has room for a worker
        study = Study(generating, out, executor=ray_of(generating, **takes))
        running = beside.submit(study.generate, "generated")
        while count_of(study.dataset("generated").folder, "*.parquet") < 2:
            assert not running.done()
            time.sleep(0.01)
        cluster.remove_node(first, allow_graceful=False)
        with another_node(cluster, num_cpus=2):
            images = running.result()
    assert len(images) == 120
    Study(generating, tmp_path / "here").generate("generated")
    assert contents(out) == contents(tmp_path / "here")


def test_classifiers_and_predictions_are_those_of_one_process(generating, cluster, tmp_path):
    file = written(generating, tmp_path)

    def evaluated(out, *options):
        return genrobust("evaluate", file, "--out", out, *options).stdout, contents(out)

    far = evaluated(tmp_path / "ray", "--executor", "ray", "--address", cluster.address)
    assert far == evaluated(tmp_path / "here")
    assert count_of(tmp_path / "ray" / "checkpoints", "*") == 2, "two arms that ask for the same are trained once"


def test_an_interrupted_run_ends_its_workers_and_goes_on(generating, short, tmp_path):
    """On a Ray that the command starts and ends itself."""
    out, words = tmp_path / "ray", ["generate", str(written(generating, tmp_path)), "--executor", "ray"]
    command = [sys.executable, "-m", "genrobust", *words, "--out", str(out)]
    environment = {**os.environ, "RAY_TMPDIR": short, "RAY_worker_niceness": "0"}
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=listens_to_ctrl_c
    )
    while count_of(out, "generated/*/*.parquet") < 3:
        assert process.poll() is None, "it ended before it could be interrupted"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 128 + signal.SIGINT, said
    assert "interrupted: " in said
    assert "Traceback" not in said
    before = count_of(out, "generated/*/*.parquet")
    assert 3 <= before < 20
    time.sleep(1)
    assert count_of(out, "generated/*/*.parquet") == before, "nobody works on"
    subprocess.run(command, check=True, env=environment)
    Study(generating, tmp_path / "here").generate("generated")
    assert contents(out) == contents(tmp_path / "here")


def test_nodes_with_copies_of_their_own_make_what_one_machine_makes(
    cluster, start, recipe, store, tmp_path, monkeypatch
):
    settings = yaml.safe_load(recipe.read_text())
    settings["arms"].append({"name": "both", "mixture": [{"source": "real"}, {"source": "generated"}]})
    settings |= {"train": settings["train"] | {"steps": 5}, "execute": {"executor": "ray", "num_cpus": 2}}
    recipe.write_text(yaml.safe_dump(settings))
    start.to_end(["evaluate", str(recipe), "--executor", "local", "--out", str(tmp_path / "alone")])
    for name, value in {**store.environment, "GENROBUST_COPIES": str(tmp_path / "home")}.items():
        monkeypatch.setenv(name, value)
    of_nodes = [{**store.environment, "GENROBUST_COPIES": str(tmp_path / f"node {n}")} for n in (1, 2)]
    nodes = [cluster.add_node(num_cpus=2, env_vars=environment, **NODE) for environment in of_nodes]
    words = ["evaluate", str(recipe), "--out", "s3://bucket/runs", "--executor", "ray", "--address", cluster.address]
    try:
        genrobust(*words)
    finally:
        for node in nodes:
            cluster.remove_node(node)
        cluster.wait_for_nodes(timeout=60)
    assert store.contents() == all_contents(tmp_path / "alone")
    made = [{p.name for p in (tmp_path / f"node {n}").rglob("*.tar")} for n in (1, 2)]
    assert all(made), "both of them drew"
    assert list((tmp_path / "home").rglob("*.tar")) == [], "who reads no images fetches none"
