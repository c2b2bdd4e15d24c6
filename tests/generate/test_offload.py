"""Where the parts of a generator are, on a GPU that has too little memory for all of them."""

import pytest
import torch
from drawn import CPU

from genrobust.core import GenrobustError, UserError
from genrobust.generate import speed
from genrobust.generate.loading import load_generator
from genrobust.generate.speed import offload_for, place

GB = 10**9
META = torch.device("meta")  # in the place of a card: what is there takes no memory here


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


def a_card(monkeypatch, free):
    """Lets any device say that so many of its bytes are free."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))


def test_layers_that_cannot_wait_are_not_asked_to(section, monkeypatch):
    config = section("dit", offload="group")
    pipeline = load_generator(config, CPU).pipeline
    with pytest.raises(UserError, match=r"generator\.offload: group .*DiTPipeline"):
        place(pipeline, config, torch.device("cuda"))
    a_card(monkeypatch, free=0)
    assert speed._chosen(pipeline, META) == "model"


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
