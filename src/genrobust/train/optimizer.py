"""The optimizer of a network, and its compilation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from timm.optim import create_optimizer_v2

from genrobust.classifiers import Classifier, LossScaler
from genrobust.core import GenrobustError, UserError, compiler_options, room_for_code, some_of
from genrobust.recipe import TrainConfig

# Modules whose errors come from torch.compile.
COMPILERS = ("torch._dynamo", "torch._inductor", "torch._functorch")
MESSAGE_LENGTH = 200  # characters of a compiler's message


def make_optimizer(model: Classifier, config: TrainConfig, scaler: LossScaler) -> torch.optim.Optimizer:
    """Make the optimizer of all parameters that require gradients."""
    parameters: Any = model
    if config.no_decay is not None:
        _require_matches(model, config)
        parameters = _decay_groups(model, config.no_decay)
    optimizer = create_optimizer_v2(
        parameters,
        opt=config.optimizer,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
        fused=True,  # a quarter of the time of the default on a CPU
    )
    if scaler.is_enabled() and config.optimizer != "adamw":
        _start_momentum(optimizer)
    return optimizer


def _start_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Create the momentum buffers of SGD as zeros, which changes no step.

    torch creates them at the first step, but leaves them uninitialized if float16 gradients overflow there.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def _require_matches(model: Classifier, config: TrainConfig) -> None:
    """Raise UserError if no text of `no_decay` is in the name of a parameter."""
    names = [name.removeprefix("network.") for name, _ in model.named_parameters()]
    texts = config.no_decay or ()
    if texts and not any(text in name for text in texts for name in names):
        raise UserError(
            f"train.no_decay: no parameter of {config.architecture} has {' or '.join(texts)} in its name; there are "
            f"{some_of(names, 5)}"
        )


def _decay_groups(model: Classifier, excluded: Sequence[str]) -> list[dict[str, Any]]:
    """Group parameters: with weight decay, and without it if the name contains a text of `excluded`."""
    decayed: list[torch.nn.Parameter] = []
    undecayed: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        local_name = name.removeprefix("network.")
        if any(text in local_name for text in excluded):
            undecayed.append(parameter)
        else:
            decayed.append(parameter)
    groups: list[dict[str, Any]] = []
    if decayed:
        groups.append({"params": decayed})
    if undecayed:
        groups.append({"params": undecayed, "weight_decay": 0.0})
    return groups


def compile_network(model: Classifier, config: TrainConfig) -> None:
    """Compile `model` at its first step if `config` asks for it. Names of weights stay.

    Copies, such as the weight average, are not compiled. Each image size has its own code.
    """
    if config.compile:
        # Equal settings have equal shapes, so trainings with the same settings share compiled code.
        room_for_code(config.model_dump_json())
        model.compile(dynamic=False, options=compiler_options())


@contextmanager
def explain_compilation(config: TrainConfig) -> Iterator[None]:
    """Turn an error of the compiler in the block into a GenrobustError that names `train.compile`."""
    try:
        yield
    except RuntimeError as error:
        if not (config.compile and type(error).__module__.startswith(COMPILERS)):
            raise
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise GenrobustError(
            f"train.compile: {config.architecture} cannot be compiled on this machine ({reason[:MESSAGE_LENGTH]}): "
            "set it to false, or install the missing part, such as a C++ compiler"
        ) from error
