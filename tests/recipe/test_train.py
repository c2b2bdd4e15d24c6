"""Lengths, image sizes and descriptions of a training."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from genrobust.core import UserError
from genrobust.recipe import TrainConfig, load_recipe, parse_recipe

STEPS = 8800
PROBE: dict[str, Any] = {"init": "clip:pictograms", "method": "linear-probe"}


def test_images_grow_late_in_the_training_in_steps_of_32_pixels() -> None:
    train = TrainConfig(crop="random-resized", start_size=96, image_size=240)
    sizes = [train.size_at(step, STEPS) for step in range(STEPS)]
    assert {*sizes} == {96, 128, 160, 192, 224, 240}, "multiples of 32, and the last size"
    assert all(now <= then for now, then in pairwise(sizes))
    assert sizes.index(128) > 0.74 * STEPS > sizes.index(128) - 0.02 * STEPS
    assert sizes.index(240) == 7600, "epoch 76 of 88"
    # Each size takes about the same time. The first and the last one have half a step of 32 pixels.
    times = [sizes.count(size) for size in (128, 160, 192)]
    assert max(times) - min(times) <= 1
    assert {TrainConfig(image_size=64).size_at(step, STEPS) for step in (0, STEPS - 1)} == {64}


@pytest.mark.parametrize(
    ("keys", "images", "warmup"),
    [
        ({"steps": 100, "warmup_steps": 50}, 1000, 50),
        ({"steps": 100, "warmup_steps": 99}, 1000, 99),
        ({"steps": 100, "warmup_steps": 100}, 1000, 50),
        ({"steps": 33, "warmup_steps": 50}, 1000, 16),
        ({"steps": 100, "warmup_steps": 0}, 1000, 0),
        ({"epochs": 10, "warmup_epochs": 2, "batch_size": 64}, 1000, 31),  # 31.25
        ({"epochs": 10, "warmup_epochs": 3, "batch_size": 64}, 1000, 47),  # 46.9
        ({"epochs": 1, "warmup_epochs": 2, "batch_size": 64}, 1000, 8),  # 16 steps
        (PROBE | {"batch_size": 64}, 1000, 8),
    ],
)
def test_the_learning_rate_rises_for_the_asked_steps_or_for_half_of_a_short_training(
    keys: dict[str, Any], images: int, warmup: int
) -> None:
    train = TrainConfig(**keys)
    assert train.warmup_for(images) == warmup
    assert train.warmup_for(images) < train.steps_for(images)


def test_a_linear_probe_sees_each_image_once_and_changes_none() -> None:
    train = TrainConfig(**PROBE, batch_size=64)
    assert [train.steps_for(images) for images in (64, 65, 128)] == [1, 2, 2]
    assert train.augmented == "none"


@pytest.mark.parametrize(
    ("keys", "alpha", "words"),
    [
        ({}, 1, "resnet10t"),
        ({"architecture": "resnet18", "init": "resnet18.a1_in1k"}, 1, "resnet18, from resnet18.a1_in1k, fine-tuned"),
        (PROBE, 1, "resnet10t, from clip:pictograms, linear probe"),
        ({"init": "arm:real"}, 0.5, "resnet10t, from arm:real, fine-tuned, WiSE-FT 0.5"),
    ],
)
def test_a_network_is_described_with_its_start(keys: dict[str, Any], alpha: float, words: str) -> None:
    assert TrainConfig(**keys).network_in_words(alpha) == words


def test_a_policy_for_a_part_of_the_images_is_described_with_the_part() -> None:
    train = TrainConfig(augmentation="augmix", augmentation_share=0.25, grayscale=0.1)
    assert train.augmented == "augmix of 25 %, grayscale 0.1"


def test_blur_pool_is_an_argument_of_the_network() -> None:
    assert TrainConfig(model_kwargs={"a": 1}, blur_pool=True).network_kwargs == {"a": 1, "blur_pool": True}
    assert TrainConfig(model_kwargs={"a": 1}).network_kwargs == {"a": 1}


@pytest.mark.parametrize("alphas", [[0, 0.5, 0.5], [], [n / 200 for n in range(102)], [1.5]])
def test_points_of_a_curve_are_a_hundred_and_different(alphas: list[float]) -> None:
    raw = {"name": "x", "arms": [{"name": "real", "mixture": "real", "train": PROBE | {"wise_ft": alphas}}]}
    with pytest.raises(UserError, match="wise_ft"):
        parse_recipe(raw)
    assert TrainConfig(**PROBE, wise_ft=[1, 0, 0.5]).wise_ft == (0, 0.5, 1)
    assert TrainConfig(**PROBE, wise_ft=0.5).wise_ft == (0.5,)


def test_an_arm_is_pretrained_if_the_arm_that_it_starts_from_is() -> None:
    recipe = load_recipe("pretrained")
    starts = {arm.name: recipe.train_of(arm) for arm in recipe.arms}
    for name, train in starts.items():
        origin = train.origin_arm
        expected = train.is_pretrained if origin is None else recipe.learned_elsewhere(origin)
        assert recipe.learned_elsewhere(name) == expected
    assert {recipe.learned_elsewhere(name) for name in starts} == {True, False}
