"""Compiled networks: what of them and for which batches, and that a second generator is compiled as well."""

from functools import partial

import numpy as np
import pytest
import torch
from drawn import CPU
from torch.nn import Conv2d

from genrobust.core import GenrobustError, UserError
from genrobust.generate.engines.diffusers import DiffusersEngine
from genrobust.generate.loading import load_generator
from genrobust.generate.speed import compile_network, large_blocks, trunk_of


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
    with pytest.raises(UserError, match=r"generator\.compile: .*DiTPipeline"):
        compile_network(load_generator(config, CPU))


@pytest.mark.thorough
def test_a_machine_without_a_compiler_is_told(section, labels, plan, monkeypatch):
    from torch._inductor import config

    monkeypatch.setenv("CXX", "/nowhere/c++")
    engine = DiffusersEngine(section(compile=True), labels, None, CPU)
    engine.expect(2)
    broken = config.patch({"cpp.cxx": ("/nowhere/c++",)})  # monkeypatch would take the name away afterwards
    with broken, pytest.raises(GenrobustError, match="does not draw"):
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
