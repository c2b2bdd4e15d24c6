"""The optimizer of a network, and its compilation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from timm.optim import create_optimizer_v2

from genrobust.classifiers import Classifier, LossScaler
from genrobust.core import GenrobustError, compiler_options, room_for_code
from genrobust.recipe import TrainConfig

COMPILERS = ("torch._dynamo", "torch._inductor", "torch._functorch")


def make_optimizer(model: Classifier, config: TrainConfig, scaler: LossScaler) -> torch.optim.Optimizer:
    """Return the optimizer of all of `model` that learns."""
    optimizer = create_optimizer_v2(
        model if config.no_decay is None else _decay_groups(model, config.no_decay),
        opt=config.optimizer,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
        fused=True,  # a quarter of the time of torch's default on a CPU
    )
    if scaler.is_enabled() and config.optimizer != "adamw":
        # Zeros change no step. torch leaves what it makes at a first step that is skipped without any value.
        for parameter in [parameter for group in optimizer.param_groups for parameter in group["params"]]:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def _decay_groups(model: Classifier, excluded: Sequence[str]) -> list[dict[str, Any]]:
    """Return two groups of parameters: with weight decay, and without, where the name contains a text of `excluded`."""
    groups: tuple[dict[str, Any], ...] = ({"params": []}, {"params": [], "weight_decay": 0.0})
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:  # a method may freeze some
            continue
        local_name = name.removeprefix("network.")
        groups[any(text in local_name for text in excluded)]["params"].append(parameter)
    return [group for group in groups if group["params"]]


def compile_network(model: Classifier, config: TrainConfig) -> None:
    """Let `model` be compiled at its first step, where `config` says so; names of weights stay.

    Its copies, such as the average of the weights, are not compiled. Each size of images has code of its own.
    """
    if config.compile:
        room_for_code(config.model_dump_json())  # the same settings have the same shapes
        model.compile(dynamic=False, options=compiler_options())


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
