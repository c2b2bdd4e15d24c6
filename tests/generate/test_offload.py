"""Where the parts of a generator are, on a GPU that has too little memory for all of them."""

import pytest
import torch
from drawn import CPU

from genrobust.core import GenrobustError, UserError
from genrobust.generate.loading import load_generator
from genrobust.generate.speed import offload_for, place

GB = 10**9


@pytest.mark.parametrize(
    ("sizes", "free", "offload"),
    [
        ([2 * GB, GB], 8 * GB, "none"),
        ([24 * GB, 10 * GB], 40 * GB, "model"),
        ([24 * GB, 10 * GB], 24 * GB, "group"),
    ],
)
def test_parts_that_do_not_fit_wait_in_main_memory(sizes, free, offload):
    assert offload_for(sizes, free) == offload


def test_layers_that_cannot_wait_are_not_asked_to(section):
    config = section("dit", offload="group")
    with pytest.raises(UserError, match=r"generator\.offload: group .*DiTPipeline"):
        place(load_generator(config, CPU).pipeline, config, torch.device("cuda"))


def test_parts_leave_the_card_where_drawing_fails(section, sampler, plan):
    """Those that come next would find no room there: diffusers moves them back only where drawing succeeds."""
    left = []

    def fill(pipeline):
        def decode(*words, **more):
            raise torch.OutOfMemoryError("CUDA out of memory")

        pipeline.vae.decode = decode
        pipeline.maybe_free_model_hooks = lambda: left.append("the card")

    with pytest.raises(GenrobustError, match="out of memory"):
        sampler(section(), fill).draw(list(plan(section()))[:2])
    assert left == ["the card"] * 2, "two images, then one"
