"""The stages of a study on a Ray cluster: the bytes of a run in one process, also when a node dies in the middle."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from small import another_node, count_of, recipe_of, written
from small_study import CLASSES, REAL, TRAIN, contents, folders_section, genrobust, listens_to_ctrl_c

from genrobust.recipe import parse_recipe
from genrobust.study import Study
from genrobust.study.executors.ray import Ray

pytestmark = pytest.mark.thorough


@pytest.fixture
def recipe(write_folder, tiny_generator):
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


def test_a_node_that_dies_while_generating_costs_no_image(recipe, cluster, tmp_path):
    takes = {"address": cluster.address, "num_cpus": 2}
    out = tmp_path / "ray"
    with another_node(cluster, num_cpus=2) as first, ThreadPoolExecutor(1) as beside:  # only it has room for a worker
        study = Study(recipe, out, executor=Ray(recipe, **takes))
        running = beside.submit(study.generate, "generated")
        while count_of(study.dataset("generated").folder, "*.parquet") < 2:
            assert not running.done()
            time.sleep(0.01)
        cluster.remove_node(first, allow_graceful=False)
        with another_node(cluster, num_cpus=2):
            images = running.result()
    assert len(images) == 120
    Study(recipe, tmp_path / "here").generate("generated")
    assert contents(out) == contents(tmp_path / "here")


def test_classifiers_and_predictions_are_those_of_one_process(recipe, cluster, tmp_path):
    file = written(recipe, tmp_path)

    def evaluated(out, *options):
        return genrobust("evaluate", file, "--out", out, *options).stdout, contents(out)

    far = evaluated(tmp_path / "ray", "--executor", "ray", "--address", cluster.address)
    assert far == evaluated(tmp_path / "here")
    assert count_of(tmp_path / "ray" / "checkpoints", "*") == 2, "two arms that ask for the same are trained once"


def test_a_search_finds_the_same_as_in_one_process(recipe, cluster, clip_folder, write_folder, tmp_path):
    pool = {"search": str(write_folder("pool", "retrieved", 9, CLASSES)), "clip": str(clip_folder), "per_class": 5}
    data = recipe.model_dump(mode="json") | {"arms": [REAL, REAL | {"name": "found", "mixture": "retrieved-by-search"}]}
    searching = parse_recipe(data | {"data": data["data"] | {"retrieved": pool}})
    far = Study(searching, tmp_path / "ray", executor=Ray(searching, cluster.address, 1))
    here = Study(searching, tmp_path / "here")
    assert list(far.images("retrieved-by-search").keys) == list(here.images("retrieved-by-search").keys)
    assert contents(tmp_path / "ray") == contents(tmp_path / "here")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_its_workers_and_goes_on(recipe, short, tmp_path, number):
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
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == 128 + number, said
    assert "interrupted: " in said
    assert "Traceback" not in said
    before = count_of(out, "generated/*/*.parquet")
    assert 3 <= before < 20
    time.sleep(1)
    assert count_of(out, "generated/*/*.parquet") == before, "nobody works on"
    subprocess.run(command, check=True, env=environment)
    Study(recipe, tmp_path / "here").generate("generated")
    assert contents(out) == contents(tmp_path / "here")
