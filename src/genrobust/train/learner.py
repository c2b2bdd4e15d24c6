"""What learns from a batch: one network, or two that share all but their batch norms."""

from __future__ import annotations

import torch
from timm.optim import create_optimizer_v2
from torch import Tensor, nn

from genrobust.classifiers import Classifier, LossScaler, autocast, create_classifier, has_fixed_size, place
from genrobust.core import UserError, hashed_seed
from genrobust.recipe import TrainConfig
from genrobust.train.augment import Mix, make_mix
from genrobust.train.mixture import Mixture
from genrobust.train.split_norm import real_rows, twin_of


class Learner(nn.Module):
    """The classifier and, where batch norms are split, its twin (see `split_norm`), each with its rows of every batch.

    One module, so that DDP can wrap all that learns. `mix` mixes the images of each network among themselves.
    """

    def __init__(self, model: Classifier, real: Tensor | None, mix: Mix | None, precision: str) -> None:
        super().__init__()
        self.model = model
        self.twin = None if real is None else twin_of(model)
        # row numbers: a mask would make a GPU wait
        self._rows: list[Tensor | slice] = [slice(None)]
        if real is not None:
            self._rows = [mask.nonzero()[:, 0] for mask in (real, ~real)]
        self._mix, self._precision = mix, precision

    def forward(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of float [B, 3, S, S], and the targets after mixing: the classifier's, then its twin's."""
        networks = [self.model] if self.twin is None else [self.model, self.twin]
        shares = zip(networks, self._rows, strict=True)
        learned = [self._learn(network, images[rows], targets[rows]) for network, rows in shares]
        logits, targets = (torch.cat(parts) for parts in zip(*learned, strict=True))
        return logits, targets

    def _learn(self, network: nn.Module, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if self._mix is not None:
            images, targets = self._mix(images, targets)
        images = images.contiguous(memory_format=torch.channels_last)
        with autocast(images.device, self._precision):
            return network(images), targets


def make_learner(
    mixture: Mixture, classes: int, config: TrainConfig, seed: int, device: torch.device, rows: slice
) -> Learner:
    """Return a learner of random weights, which `seed` decides, for this process's `rows` of every batch.

    Raises:
        UserError: The architecture or the mixture does not go with `config`.
    """
    if config.start_size is not None and has_fixed_size(config.architecture):
        raise UserError(f"train.start_size: {config.architecture} takes images of one size alone: leave it out")
    torch.manual_seed(hashed_seed(seed, "weights"))
    model = place(create_classifier(config.architecture, classes, config.image_size, config.model_kwargs), device)
    real = real_rows(mixture, config, rows).to(device) if config.split_batchnorm else None
    return Learner(model, real, make_mix(config, classes), config.precision)


def make_optimizer(learner: Learner, config: TrainConfig, scaler: LossScaler) -> torch.optim.Optimizer:
    """Return the optimizer of all that learns."""
    optimizer = create_optimizer_v2(
        learner,
        opt=config.optimizer,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
        fused=True,  # a quarter of the time of torch's default on a CPU
    )
    if scaler.is_enabled() and config.optimizer == "sgd":
        # Zeros change no step. torch leaves what it makes at a first step that is skipped without any value.
        for parameter in learner.parameters():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer
