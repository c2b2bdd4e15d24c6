"""Compiles what learns, where a recipe asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from genrobust.core import GenrobustError, compiler_options, room_for_code
from genrobust.recipe import TrainConfig
from genrobust.train.learner import Learner

COMPILERS = ("torch._dynamo", "torch._inductor", "torch._functorch")


def compile_network(learner: Learner, config: TrainConfig) -> None:
    """Let the network of `learner` be compiled at its first step, where `config` says so; names of weights stay.

    Its copies, such as the average of the weights, are not compiled. Each size of images has code of its own.
    """
    if config.compile:
        room_for_code(config.model_dump_json())  # the same settings have the same shapes
        learner.model.compile(dynamic=False, options=compiler_options())


@contextmanager
def explain_compilation(config: TrainConfig) -> Iterator[None]:
    """Raise what a compiler raises in the block, where a network is compiled, as a GenrobustError."""
    try:
        yield
    except RuntimeError as error:
        if not (config.compile and type(error).__module__.startswith(COMPILERS)):
            raise
        why = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise GenrobustError(
            f"train.compile: {config.architecture} cannot be compiled on this machine ({why[:200]}): set it to false, "
            "or install what is missing, such as a C++ compiler"
        ) from error
