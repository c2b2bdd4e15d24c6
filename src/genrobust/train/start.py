"""The network at the first step of a training: random or pretrained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genrobust.classifiers import Classifier, Initial, create_classifier, move_to
from genrobust.core import LabelSpace, hashed_seed
from genrobust.recipe import TrainConfig


def first_network(
    labels: LabelSpace, config: TrainConfig, seed: int, device: torch.device, initial: Initial | None
) -> Classifier:
    """Return the network that a training starts from; `seed` decides what of its weights is random.

    Raises:
        UserError: The architecture does not go with `config`, or the weights of `initial` do not fit it.
        GenrobustError: The weights of `initial` cannot be fetched or loaded.
    """
    torch.manual_seed(hashed_seed(seed, "weights"))
    if initial is None:
        return move_to(
            create_classifier(config.architecture, len(labels), config.image_size, config.network_kwargs), device
        )
    return move_to(initial.make(labels, config), device)


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a network, copied to main memory."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}
