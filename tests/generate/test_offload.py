"""Where the parts of a generator are, on a GPU that has too little memory for all of them."""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from diffusers.hooks import group_offloading
from drawn import CPU

from genrobust.core import GenrobustError, UserError
from genrobust.generate import speed
from genrobust.generate.engines.diffusers import DiffusersEngine
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


def test_what_cannot_be_done_is_not_recommended(section, sampler, plan):
    def fill(pipeline):
        def decode(*words, **more):
            raise torch.OutOfMemoryError("CUDA out of memory")

        pipeline.vae.decode = decode

    for kind, remedy in (("dit", "set generator.dtype"), ("sd", "set generator.offload to group, or lower")):
        with pytest.raises(GenrobustError, match=f"out of memory .* 1 image .*: {remedy}"):
            sampler(section(kind), fill).draw(list(plan(section(kind)))[:1])


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
    assert left == ["the card"] * 3, "two images, the same decoded one by one, then one"


class Streams:
    """Of a device that does all at once, as a CPU: diffusers asks for a GPU's."""

    def __init__(self, device=None):
        pass

    def stream(self, stream):
        return nullcontext()

    def current_stream(self):
        return self

    def synchronize(self):
        pass


def test_layers_wait_though_the_autoencoder_is_cast_at_each_call(section, plan, labels, monkeypatch):
    """As that of SDXL is in float16. What waits is a copy, which is not cast."""
    if not hasattr(group_offloading, "TorchDeviceBackend"):
        pytest.skip("before 0.41, diffusers asks for a real GPU's streams")
    apply = group_offloading._apply_group_offloading
    streamed = partial(replace, stream=Streams())
    monkeypatch.setattr(group_offloading, "_apply_group_offloading", lambda part, how: apply(part, streamed(how)))
    monkeypatch.setattr(group_offloading, "TorchDeviceBackend", Streams)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    half = section("sdxl", dtype="float16")
    asked = list(plan(half))[:2]
    plain, offloaded = (DiffusersEngine(half, labels, None, CPU) for _ in range(2))
    pipeline = offloaded.generator.pipeline
    assert pipeline.vae.config.force_upcast
    offload = pipeline.enable_group_offload
    pipeline.enable_group_offload = lambda **how: offload(**{**how, "use_stream": False})
    speed._move(pipeline, "group", CPU)
    for _ in range(2):  # from the second, layers are fetched ahead
        assert (np.stack(offloaded.draw(asked)) == np.stack(plain.draw(asked))).all()
