"""What makes a pipeline faster or fits it into memory: what it does to the images and their identity."""

import weakref
from functools import partial

import numpy as np
import pytest
import torch
from drawn import CPU, pixels
from refusals import refused
from torch.nn import Conv2d

from genrobust.core import GenrobustError, OutOfMemory
from genrobust.generate import identity
from genrobust.generate.engines.diffusers import DiffusersEngine
from genrobust.generate.library_errors import explain, explain_out_of_memory
from genrobust.generate.pipeline_loading import load_generator
from genrobust.generate.placement import compile_network, large_blocks, offload_for, place, trunk_of


@pytest.mark.parametrize(
    ("key", "value", "decides"),
    [
        ("compile", True, True),
        ("offload", "group", False),
    ],
)
def test_keys_that_change_pixels_are_in_the_identity(section, key, value, decides):
    assert (identity(section(**{key: value})) != identity(section())) == decides


def small_card(fits, before=lambda pipeline: None):
    """Lets the decoder of a pipeline run out of memory with more than `fits` images, after it called `before`."""

    def prepare(pipeline):
        decode = pipeline.vae.decode

        def limited(latents, *words, **more):
            if len(latents) > fits:
                before(pipeline)
                raise torch.OutOfMemoryError("CUDA out of memory")
            return decode(latents, *words, **more)

        pipeline.vae.decode = limited

    return prepare


def test_a_batch_that_does_not_fit_is_drawn_in_parts(section, sampler, plan, caplog):
    asked = list(plan(section(), 4))
    drawn = pixels(sampler(section(), small_card(3)).draw(asked))
    assert abs(drawn - pixels(sampler(section()).draw(asked))).max() <= 1
    assert "with 12" not in caplog.text and "from here on 6 at once" in caplog.text and "3 at once" in caplog.text
    with refused("1 x 64 x 64", "generator.offload", kind=OutOfMemory):
        sampler(section(), small_card(0)).draw(asked)


def test_an_autoencoder_that_was_left_in_another_precision_is_given_its_own_back(section, sampler, plan):
    """As SDXL leaves it in float32 where decoding runs out of memory, which the next half of the batch is not in."""
    half = section(dtype="bfloat16")
    card = small_card(2, before=lambda pipeline: pipeline.vae.to(torch.float32))
    assert len(pixels(sampler(half, card).draw(list(plan(half))[:4]))) == 4


def test_running_out_of_memory_frees_what_was_computed():
    """Before the error is handled: half of the batch has to fit beside it."""
    kept = []

    def compute():
        latents = torch.zeros(8)
        kept.append(weakref.ref(latents))
        raise torch.OutOfMemoryError("CUDA out of memory")

    try:
        with explain_out_of_memory(CPU, "while drawing", "lower generate.batch_size"):
            compute()
    except OutOfMemory:
        assert kept[0]() is None
    else:
        pytest.fail("the error was lost")


def test_where_nothing_can_be_offloaded_no_other_offload_is_advised():
    with (
        refused("while training", "finetune.batch_size", kind=OutOfMemory),
        explain_out_of_memory(CPU, "while training", "lower finetune.batch_size"),
        explain("generator.offload: none cannot be used", "set it to another value"),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")


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
    with refused("generator.offload", "group", "DiTPipeline"):
        place(load_generator(config, CPU).pipeline, config, torch.device("cuda"))


def test_parts_leave_the_card_where_drawing_fails(section, sampler, plan):
    """Those that come next would find no room there: diffusers moves them back only where drawing succeeds."""
    left = []

    def fill(pipeline):
        small_card(0)(pipeline)
        pipeline.maybe_free_model_hooks = lambda: left.append("the card")

    with refused(kind=OutOfMemory):
        sampler(section(), fill).draw(list(plan(section()))[:2])
    assert left == ["the card"] * 2, "two images, then one"


@pytest.mark.parametrize("kind", ["sd", "sdxl", "flux"])
def test_a_unet_is_compiled_with_its_convolutions_and_all_else_by_repeated_blocks(section, kind):
    loaded = load_generator(section(kind, compile=True), CPU)
    compile_network(loaded)
    trunk = trunk_of(loaded.pipeline)
    compiled = [part for part in trunk.modules() if part._compiled_call_impl is not None]
    if kind == "flux":
        assert {type(part).__name__ for part in compiled} == set(trunk._repeated_blocks)
    else:
        inside = {id(part) for block in compiled for part in block.modules()}
        left = [name for name, part in trunk.named_modules() if isinstance(part, Conv2d) and id(part) not in inside]
        assert left == ["conv_in", "conv_out"]


def test_blocks_that_cannot_be_compiled_are_refused_where_that_is_asked_for(section):
    config = section("dit", compile=True)
    with refused("generator.compile", "DiTPipeline"):
        compile_network(load_generator(config, CPU))


@pytest.mark.thorough
def test_a_machine_without_a_compiler_is_told(section, labels, plan, monkeypatch):
    from torch._inductor import config

    monkeypatch.setenv("CXX", "/nowhere/c++")
    engine = DiffusersEngine(section(compile=True), labels, None, CPU)
    engine.expect(2)
    broken = config.patch({"cpp.cxx": ("/nowhere/c++",)})  # monkeypatch would take the name away afterwards
    with broken, refused(kind=GenrobustError):
        engine.draw(list(plan(section()))[:2])


class Counted(DiffusersEngine):
    """Lists the graphs that it compiles, with a compiler that leaves them as they are."""

    def expect(self, batch):
        self.graphs = []
        for block in large_blocks(self.generator.pipeline.unet):
            block.compile = partial(block.compile, backend=self.compiled)
        super().expect(batch)

    def compiled(self, graph, inputs, options):
        self.graphs.append(graph)
        return graph.forward


@pytest.mark.thorough
def test_what_is_compiled_for_a_batch_draws_no_other_size(section, labels, plan):
    """Else each size would be compiled, and the images of the next full batch would depend on it."""
    asked = list(plan(section(), 4))
    engine = Counted(section(compile=True, offload="none"), labels, None, CPU)
    torch.compiler.reset()
    engine.expect(4)
    engine.draw(asked[:4])
    count = len(engine.graphs)
    assert count == len(large_blocks(engine.generator.pipeline.unet)), "each is one graph, at every step"
    rest = engine.draw(asked[4:6])
    assert len(engine.graphs) == count
    assert (np.stack(rest) == np.stack(DiffusersEngine(section(), labels, None, CPU).draw(asked[4:6]))).all()
    engine.draw(asked[6:10])
    assert len(engine.graphs) == count


@pytest.mark.thorough
def test_the_code_of_one_generator_leaves_room_for_that_of_the_next(section, labels, plan):
    """PyTorch keeps few versions of a block's code in a process, whatever it belongs to, and then compiles no more."""
    from torch._dynamo import config

    asked = list(plan(section(), 4))

    def drawn(side, room):
        with config.patch(recompile_limit=room):
            engine = Counted(section(compile=True, offload="none", width=side, height=side), labels, None, CPU)
            engine.expect(4)
            engine.draw(asked[:4])
        return engine

    versions = len(drawn(64, room=8).graphs)
    assert versions
    assert len(drawn(32, room=versions).graphs) == versions
