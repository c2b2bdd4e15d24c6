"""A classifier trained by two workers of a real Ray cluster: what one would learn, also when a worker dies."""

import logging

import pytest
import torch
from safetensors.torch import load_file
from small import assert_same_up_to_rounding, count_of, kill_while_training, of_two, tasks, written
from small_study import REAL, contents, genrobust

from genrobust.recipe import parse_recipe
from genrobust.study import Study
from genrobust.study.executors.ray import Ray

pytestmark = pytest.mark.thorough


@pytest.fixture
def recipe(write_folder):
    return of_two(write_folder, executor="ray", num_cpus=1)


def test_a_killed_worker_costs_no_bit_of_what_two_learn_as_one(recipe, cluster, tmp_path, caplog):
    file, out = written(recipe, tmp_path), tmp_path / "whole"
    on_ray = ("--executor", "ray", "--address", cluster.address)
    assert genrobust("train", file, "--out", out, "--part", "1/2", *on_ray).stdout.startswith("real, seed 0: ")
    genrobust("train", file, "--out", out)  # what two trained is there, and the other takes one

    study = Study(recipe, tmp_path / "killed", executor=Ray(recipe, cluster.address, 1))
    both, alone = study.runs()
    with caplog.at_level(logging.WARNING):
        kill_while_training(study, both, lambda: second_worker(cluster))
    together, alone = study.train([both, alone])
    (message,) = caplog.messages  # with Ray's reason, where its controller notices first
    assert message.startswith("real, seed 0: its worker died") and message.endswith("; it is tried again")
    assert contents(tmp_path / "killed") == contents(out)
    genrobust("train", file, "--out", tmp_path / "without", "--executor", "local", "--workers", 2)
    assert contents(tmp_path / "without") == contents(out), "without Ray they learn the same"
    assert_same_up_to_rounding(together, alone)


def second_worker(cluster):
    """The process on the second node; there is one on each."""
    workers = tasks(cluster, "_run")
    assert sorted(map(len, workers)) == [1, 1]
    return workers[1][0]


def test_two_fine_tune_a_pretrained_network_as_one_does(recipe, cluster, tmp_path, clip_folder):
    tuned = {"init": f"clip:{clip_folder}", "method": "lp-ft", "steps": 8, "wise_ft": 0.5}
    train = recipe.train.model_copy(update={"steps": 8, "learning_rate": 0.01})
    arms = [REAL | {"train": tuned}, REAL | {"name": "alone", "train": {**tuned, "workers": 1}}]
    changed = parse_recipe(recipe.model_dump(mode="json") | {"train": train.model_dump(mode="json"), "arms": arms})
    study = Study(changed, tmp_path, executor=Ray(changed, cluster.address, 1))
    together, alone = (load_file(folder / "model.safetensors") for folder in study.train(study.runs()))
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name], tensor, atol=1e-5, rtol=1e-4)


def test_what_cannot_be_trained_so_is_reported_before_anything_is_made(recipe, cluster, tmp_path):
    words = ("train", written(recipe, tmp_path), "--out", tmp_path / "out")
    on_ray = ("--executor", "ray", "--address", cluster.address)
    for more, why in (
        (("--set", "train.batch_size=7"), "train: workers: 2 cannot share a batch_size of 7 equally"),
        ((*on_ray, "--set", "train.workers=3"), "the cluster has room for 2 of 3 workers, where each takes 1 CPUs"),
    ):
        genrobust(*words, *more, code=2, said=why)
    assert count_of(tmp_path, "out/checkpoints/*") == 0
