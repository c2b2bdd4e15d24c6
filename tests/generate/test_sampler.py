"""Drawings come in order, depend on their request alone, and never hold what is no picture."""

import numpy as np
import pytest
from drawn import pixels
from refusals import refused

from genrobust.generate.pipeline_loading import SCHEDULERS
from genrobust.generate.sampler import find_fault, to_uint8


@pytest.fixture
def requests(plan, generator):
    return list(plan(generator, per_class=4, negative_prompt="blurry"))


@pytest.mark.parametrize("scheduler", [*SCHEDULERS, None])
def test_neither_batch_size_nor_neighbors_change_an_image(sampler, generator, requests, scheduler):
    """LCM adds noise at every step: that, too, is an image's own."""
    draw = sampler(generator.model_copy(update={"scheduler": scheduler, "steps": 3})).draw
    whole = pixels(draw(requests))
    alone = pixels([d for request in requests[:3] for d in draw([request])])
    backwards = pixels(draw(requests[::-1])[::-1])
    assert abs(whole[:3] - alone).max() <= 1
    assert abs(whole - backwards).max() <= 1


WHITE = np.ones((64, 64, 3), np.float32)


def changed(image, where, value):
    image = image.copy()
    image[where] = value
    return image


LINE = changed(WHITE, np.s_[30:32, 10:50], 0)


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (WHITE, "blank"),
        (WHITE * [0.2, 0.9, 0.4], "blank"),
        (WHITE * 0, "black"),
        (changed(WHITE, (3, 4, 1), np.nan), "nan"),
        (LINE, ""),
        (1 - LINE, ""),
        (changed(WHITE * 0, np.s_[:32], [1, 0, 0]), ""),
        (to_uint8(WHITE), "blank"),
        (to_uint8(WHITE * 0), "black"),
        (to_uint8(LINE), ""),
        (None, "unsafe"),
    ],
)
def test_faults_are_told_from_pictures(image, found):
    assert find_fault(image) == found


def test_levels_are_rounded_as_pil_images_from_diffusers():
    values = np.array([0.0, 0.4 / 255, 0.6 / 255, 1.0])
    assert to_uint8(values).tolist() == [0, 0, 1, 255]
    assert to_uint8(to_uint8(values)).tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize("pixels", [[-0.5, 0.5], [0.0, 1.5], [3, 200]])
def test_an_engine_whose_numbers_are_in_another_range_is_refused(pixels):
    with refused("Engine.draw", kind=AssertionError):
        to_uint8(np.array(pixels))
