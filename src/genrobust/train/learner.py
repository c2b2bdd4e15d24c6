"""The network that learns, with the mixing of its images, its optimizer, and its compilation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from torch import Tensor, nn

from genrobust.classifiers import Classifier, LossScaler, autocast, has_fixed_size
from genrobust.core import GenrobustError, UserError, compiler_options, room_for_code
from genrobust.recipe import TrainConfig
from genrobust.train.augment import Mix, make_mix

COMPILERS = ("torch._dynamo", "torch._inductor", "torch._functorch")


class Learner(nn.Module):
    """A classifier, and the mixing of the images that it learns; one module, so that DDP can wrap it."""

    def __init__(self, model: Classifier, mix: Mix | None, precision: str) -> None:
        super().__init__()
        self.model = model
        self._mix, self._precision = mix, precision

    def forward(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of float [B, 3, S, S], and the targets after mixing."""
        if self._mix is not None:
            images, targets = self._mix(images, targets)
        images = images.contiguous(memory_format=torch.channels_last)
        with autocast(images.device, self._precision):
            return self.model(images), targets

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters that an architecture spares from decay, for timm's optimizers."""
        get_names = getattr(self.model.network, "no_weight_decay", None)
        return {f"model.network.{name}" for name in get_names()} if callable(get_names) else set()


def make_learner(model: Classifier, classes: int, config: TrainConfig) -> Learner:
    """Return a learner with the network `model`.

    Raises:
        UserError: The architecture does not go with `config`.
    """
    if config.start_size is not None and has_fixed_size(config.architecture):
        raise UserError(f"train.start_size: {config.architecture} takes images of one size alone: leave it out")
    return Learner(model, make_mix(config, classes), config.precision)


def make_optimizer(learner: Learner, config: TrainConfig, scaler: LossScaler) -> torch.optim.Optimizer:
    """Return the optimizer of all that learns."""
    optimizer = create_optimizer_v2(
        learner if config.no_decay is None else _decay_groups(learner, config.no_decay),
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


def _decay_groups(learner: Learner, excluded: Sequence[str]) -> list[dict[str, Any]]:
    """Return two groups of parameters: with weight decay, and without, where the name contains a text of `excluded`."""
    groups: tuple[dict[str, Any], ...] = ({"params": []}, {"params": [], "weight_decay": 0.0})
    for name, parameter in learner.named_parameters():
        if not parameter.requires_grad:  # a method may freeze some
            continue
        local_name = name.partition("network.")[2]
        groups[any(text in local_name for text in excluded)]["params"].append(parameter)
    return [group for group in groups if group["params"]]


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
