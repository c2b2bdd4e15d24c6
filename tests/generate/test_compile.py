"""Compiled networks: when, what of them and for which batches, and that a second generator is compiled as well."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from drawn import CPU
from torch.nn import Conv2d

from genrobust.core import GenrobustError, UserError
from genrobust.generate.engines.diffusers import DiffusersEngine
from genrobust.generate.loading import load_generator
from genrobust.generate.speed import PAYS, compile_network, large_blocks, trunk_of


@pytest.mark.parametrize(
    ("kind", "compiles", "device", "offload", "images", "done"),
    [
        ("sd", "auto", "cuda", "none", PAYS, True),
        ("sd", "auto", "cuda", "model", PAYS, True),
        ("sd", "auto", "cuda", "group", PAYS, False),  # each layer that is fetched would end the compiled code
        ("sd", "auto", "cuda", "none", PAYS - 1, False),
        ("sd", "auto", "cpu", "none", PAYS, False),
        ("sd", False, "cuda", "none", PAYS, False),
        ("sd", True, "cpu", "none", 1, True),
        ("dit", "auto", "cuda", "none", PAYS, False),  # has no blocks that diffusers compiles
        ("flux", "auto", "cuda", "none", PAYS, True),
        ("qwen-image", "auto", "cuda", "none", PAYS, False),  # each length of prompts would be compiled
    ],
)
def test_compiling_is_left_to_large_datasets_on_gpus(section, kind, compiles, device, offload, images, done):
    loaded = load_generator(section(kind, compile=compiles), CPU)
    assert compile_network(replace(loaded, device=torch.device(device), offload=offload), images) == done


@pytest.mark.parametrize("kind", ["sd", "sdxl", "flux"])
def test_a_unet_is_compiled_with_its_convolutions_and_all_else_by_repeated_blocks(section, kind):
    loaded = load_generator(section(kind, compile=True), CPU)
    assert compile_network(loaded, 1)
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
    with pytest.raises(UserError, match=r"generator\.compile: .*DiTPipeline"):
        compile_network(load_generator(config, CPU), 1)


@pytest.mark.thorough
def test_a_machine_without_a_compiler_draws_without(section, labels, plan, sampler, monkeypatch, caplog):
    from torch._inductor import config

    monkeypatch.setenv("CXX", "/nowhere/c++")
    broken = config.patch({"cpp.cxx": ("/nowhere/c++",)})  # monkeypatch would take the name away afterwards
    asked = list(plan(section()))[:2]
    for compiles, raises in (("auto", False), (True, True)):
        torch.compiler.reset()
        engine = DiffusersEngine(section(compile=compiles), labels, None, CPU)
        engine._compiled = compile_network(replace(engine.generator, device=torch.device("cuda")), PAYS)
        if raises:
            with broken, pytest.raises(GenrobustError, match="fails"):
                engine.draw(asked)
        else:
            with broken:
                drawn = engine.draw(asked)
            assert "drawing without generator.compile" in caplog.text
            assert (np.stack(drawn) == np.stack(DiffusersEngine(section(), labels, None, CPU).draw(asked))).all()


class Counted(DiffusersEngine):
    """Lists the graphs that it compiles, with a compiler that leaves them as they are."""

    def expect(self, images, batch):
        self.graphs = []
        for block in large_blocks(self.generator.pipeline.unet):
            block.compile = partial(block.compile, backend=self.compiled)
        super().expect(images, batch)

    def compiled(self, graph, inputs, options):
        self.graphs.append(graph)
        return graph.forward


@pytest.mark.thorough
def test_what_is_compiled_for_a_batch_draws_no_other_size(section, labels, plan):
    """Else each size would be compiled, and the images of the next full batch would depend on it."""
    asked = list(plan(section(), 4))
    engine = Counted(section(compile=True, offload="none"), labels, None, CPU)
    torch.compiler.reset()
    engine.expect(len(asked), 4)
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
            engine.expect(len(asked), 4)
            engine.draw(asked[:4])
        return engine

    versions = len(drawn(64, room=8).graphs)
    assert versions
    assert len(drawn(32, room=versions).graphs) == versions
