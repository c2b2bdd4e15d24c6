"""The network at the first step of a training: random, pretrained, probed, or with low-rank matrices to learn."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from genrobust.classifiers import Classifier, Initial, create_classifier, head_name, move_to
from genrobust.core import LabelSpace, hashed_seed
from genrobust.recipe import TrainConfig

LORA_SCALE = 2  # of the matrices' product: alpha / rank, as is usual


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


class LowRank(nn.Module):
    """A parametrization of a layer's weight [O, ...] by its frozen one: adds B [O, R] times A [R, ...], which learn.

    peft's layers add the product's output to that of the layer. This adds it to the weight, since many of timm's
    networks do not call their layers: attention takes `qkv.weight`, convolutions standardize theirs.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows = weight.detach().flatten(1)
        self.lora_A = nn.Parameter(torch.empty_like(rows[:1]).repeat(rank, 1))
        self.lora_B = nn.Parameter(torch.zeros_like(rows[:, :1]).repeat(1, rank))  # at first, nothing is added
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))  # as in the authors' code

    def forward(self, weight: Tensor) -> Tensor:
        kind = weight.device.type
        with torch.autocast("cpu" if kind == "meta" else kind, enabled=False):  # as it is merged in the end
            return weight + LORA_SCALE * (self.lora_B @ self.lora_A).view_as(weight)


def add_lora(model: nn.Module, rank: int) -> None:
    """Freeze all but the last layer, and add low-rank matrices to every linear layer (Hu et al., 2022).

    A network without linear layers gets them in its convolutions over all channels.
    """
    assert isinstance(model, Classifier)
    last = f"network.{head_name(model.network)}"
    modules = [module for name, module in model.named_modules() if not name.startswith(last)]
    targets: list[nn.Linear | nn.Conv2d] = [module for module in modules if isinstance(module, nn.Linear)]
    if not targets:
        targets = [module for module in modules if isinstance(module, nn.Conv2d) and module.groups == 1]
    model.requires_grad_(False)
    for module in targets:
        parametrize.register_parametrization(module, "weight", LowRank(module.weight, rank))
    model.get_submodule(last).requires_grad_(True)


def merge_lora(model: nn.Module) -> None:
    """Add the products of low-rank matrices to the weights that they belong to, and leave a plain network."""
    added = [name for name, module in model.named_modules() if isinstance(module, LowRank)]
    for name in added:
        layer = model.get_submodule(name.removesuffix(".parametrizations.weight.0"))
        parametrize.remove_parametrizations(layer, "weight")
