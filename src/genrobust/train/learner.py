"""The network that learns, with the mixing of its images, and its optimizer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from timm.optim import create_optimizer_v2
from torch import Tensor, nn

from genrobust.classifiers import Classifier, LossScaler, autocast, has_fixed_size
from genrobust.core import UserError
from genrobust.recipe import TrainConfig
from genrobust.train.augment import Mix, make_mix


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
    _require_image_size(model.network, config)
    return Learner(model, make_mix(config, classes), config.precision)


def _require_image_size(network: nn.Module, config: TrainConfig) -> None:
    """Raise UserError where the network takes no images of the size that it trains on; computes shapes alone."""
    size = config.start_size or config.image_size
    try:
        copy.deepcopy(network).to("meta").eval()(torch.empty(2, 3, size, size, device="meta"))
    except NotImplementedError:  # no shapes are known of some operation
        pass
    except Exception as error:  # networks raise anything for shapes that they do not check
        raise UserError(
            f"train.image_size: {config.architecture} takes no images of {size} px ({error}): raise it, or look at "
            "model_kwargs"
        ) from None


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
        if not parameter.requires_grad:  # LoRA's network
            continue
        local_name = name.partition("network.")[2]
        groups[any(text in local_name for text in excluded)]["params"].append(parameter)
    return [group for group in groups if group["params"]]
