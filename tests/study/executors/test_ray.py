"""Jobs on a real Ray cluster: done once each, tried again where a worker dies, reported where they cannot be done."""

import json
import platform
from pathlib import Path

import pytest
from scribe import SIZE, work
from small import another_node, count_of, recipe_of

from genrobust.core import DiskFull, GenrobustError, UserError, counting
from genrobust.study.executors.local import Local
from genrobust.study.executors.ray import Ray
from genrobust.study.executors.workers import TRIES

pytestmark = pytest.mark.thorough


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
        pytest.raises(GenrobustError, match="writing: 1 of the jobs failed") as error,
    ):
        on_ray().run(work(tmp_path, "write:a", "die-once:b", "die:c", "write:d"))
    assert error.value.exit_code == 1 and "job die:c: its worker died" in str(error.value)
    assert [count_of(tmp_path, f"try-*-{name}") for name in "abcd"] == [1, 2, TRIES, 1]
    assert [count_of(tmp_path, f"done-{name}") for name in "abcd"] == [1, 1, 0, 1]
    assert sum(shown) == SIZE * 3, "what was made of a job that failed is taken back"


def test_a_disk_that_is_full_may_be_that_of_one_node(on_ray, tmp_path):
    with pytest.raises(DiskFull, match="no room for a"):
        on_ray().run(work(tmp_path, "fail:a"))
    assert count_of(tmp_path, "try-*-a") == TRIES


def test_a_mistake_of_the_users_comes_out_at_once_as_it_would_here(on_ray, tmp_path):
    with pytest.raises(UserError) as error:
        on_ray().run(work(tmp_path, "mistake:a"))
    assert str(error.value) == "a is wrong"
    assert error.value.exit_code == 2
    assert count_of(tmp_path, "try-*-a") == 1
    assert "UserError: a is wrong" in error.value.__notes__[0], "for --debug, where it came from"


def test_more_than_a_node_has_is_refused_with_what_there_is(on_ray):
    with pytest.raises(UserError, match=r"a worker takes 64 CPUs and 0 GPUs, .*1 CPUs, 0 GPUs.*execute\.num_cpus"):
        on_ray(num_cpus=64)
    with pytest.raises(UserError, match="a worker takes 1 CPUs and 2 GPUs"):
        on_ray(num_gpus=2)


def test_threads_that_no_node_has_are_shared_and_the_device_is_that_of_the_nodes(on_ray):
    assert on_ray(threads=16).workers() == 2
    said = []
    placed = Ray(recipe_of(device="auto")).placed(recipe_of(device="auto"), said.append)
    assert placed.device == "cpu"
    assert placed == Local().placed(recipe_of(device="cpu")), "both nodes are this machine"
    assert len(said) == 1 and "all nodes" in said[0]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the variable is for its instructions alone")
def test_one_node_without_bfloat16_decides_for_all(cluster, on_ray):
    executor = on_ray()
    with another_node(cluster, num_cpus=1, env_vars={"ONEDNN_MAX_CPU_ISA": "AVX2"}):
        said = []
        placed = executor.placed(recipe_of(device="cpu"), said.append)
        assert (placed.generator and placed.generator.dtype, placed.train.precision) == ("float32", "float32")
        assert "bfloat16" in said[0]
