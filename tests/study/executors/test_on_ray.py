"""The stages of a study on a Ray cluster: the bytes of a run in one process, also when a node dies in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster
from small import NODE, count_of, recipe_of, written
from small_study import CLASSES, contents
from typer.testing import CliRunner

from genrobust.cli import app
from genrobust.recipe.load import Recipe
from genrobust.recipe.recipe import ExecuteConfig
from genrobust.study.executors.ray import Ray
from genrobust.study.study import Study


@pytest.fixture
def recipe(write_folder: Callable[..., Path], tiny_generator: Path) -> Recipe:
    """Three classes, a tiny generator and a small classifier, where a stage takes a second or so."""
    sets = {name: str(write_folder(name, name, 6, CLASSES)) for name in ("train", "test", "solid")}
    return recipe_of(
        threads=1,
        device="cpu",
        data={"source": "folders", "train": sets["train"], "val": sets["test"], "test": sets["test"]}
        | {"shifts": {"solid": sets["solid"]}},
        generator={"model": str(tiny_generator), "steps": 2},
        generate={"per_class": 40, "shard_size": 6, "batch_size": 6},
        train={"architecture": "test_resnet", "image_size": 32, "batch_size": 8, "steps": 6, "warmup_steps": 2}
        | {"precision": "float32"},
        seeds=[0, 1],
        arms=[{"name": "real", "mixture": "real"}, {"name": "same", "mixture": "real"}],
        robustness={"baselines": None},
        execute={"num_cpus": 1},
    )


@pytest.fixture
def short() -> Iterator[str]:
    """A folder for a Ray's sockets, whose paths must not be long."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="r", ignore_cleanup_errors=True) as folder:
        yield folder


def listens_to_ctrl_c() -> None:
    """In the child: a background job, such as a test run started by nohup, ignores SIGINT and hands that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_node_that_dies_while_generating_costs_no_image(recipe: Recipe, cluster: Cluster, tmp_path: Path) -> None:
    large = recipe.model_copy(update={"execute": ExecuteConfig(num_cpus=2)})
    first = cluster.add_node(num_cpus=2, **NODE)  # the only one that has room for such a worker
    out = tmp_path / "ray"
    dataset = Study(large, out, executor=Ray(large, cluster.address)).dataset("generated")
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(lambda: dataset.images)
        while count_of(dataset.folder, "*.parquet") < 2:
            assert not running.done()
            time.sleep(0.01)
        cluster.remove_node(first, allow_graceful=False)
        second = cluster.add_node(num_cpus=2, **NODE)
        images = running.result()
    cluster.remove_node(second)
    cluster.wait_for_nodes(timeout=60)  # until Ray knows that they are gone: other tests count nodes
    assert len(images) == 120
    Study(recipe, tmp_path / "here").dataset("generated").make()
    assert contents(out) == contents(tmp_path / "here")


@pytest.mark.slow  # pytest -m slow tests/study/executors
def test_classifiers_and_predictions_are_those_of_one_process(recipe: Recipe, cluster: Cluster, tmp_path: Path) -> None:
    file = written(recipe, tmp_path)

    def evaluated(out: Path, *options: str) -> tuple[str, dict[str, bytes]]:
        done = CliRunner().invoke(app, ["evaluate", str(file), "--out", str(out), *options])
        assert done.exit_code == 0, done.stderr
        return done.stdout, contents(out)

    far = evaluated(tmp_path / "ray", "--executor", "ray", "--address", cluster.address)
    assert far == evaluated(tmp_path / "here")
    assert count_of(tmp_path / "ray" / "checkpoints", "*") == 2, "two arms that ask for the same are trained once"


@pytest.mark.slow
def test_an_interrupted_run_ends_its_workers_and_goes_on(recipe: Recipe, short: str, tmp_path: Path) -> None:
    """On a Ray that the command starts and ends itself."""
    out, words = tmp_path / "ray", ["generate", str(written(recipe, tmp_path)), "--executor", "ray"]
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
    assert process.returncode == 130, said
    assert "interrupted: " in said
    assert "Traceback" not in said
    before = count_of(out, "generated/*/*.parquet")
    assert 3 <= before < 20
    time.sleep(1)
    assert count_of(out, "generated/*/*.parquet") == before, "nobody works on"
    subprocess.run(command, check=True, env=environment)
    Study(recipe, tmp_path / "here").dataset("generated").make()
    assert contents(out) == contents(tmp_path / "here")
