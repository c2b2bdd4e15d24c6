"""The network at the first step of a training: random, pretrained, probed, or with low-rank matrices to learn."""

from __future__ import annotations

import torch
from torch import Tensor, nn

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


def copied(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a network, copied to main memory."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}


def add_lora(model: Classifier, rank: int) -> None:
    """Freeze all but the last layer, and add low-rank matrices to every linear layer (Hu et al., 2022).

    A network without linear layers gets them in its convolutions over all channels.
    """
    from peft import LoraConfig, inject_adapter_in_model

    last = f"network.{head_name(model.network)}"
    modules = {name: module for name, module in model.named_modules() if not name.startswith(last)}
    targets = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    if not targets:
        targets = [name for name, module in modules.items() if isinstance(module, nn.Conv2d) and module.groups == 1]
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=LORA_SCALE * rank, target_modules=targets), model)
    model.get_submodule(last).requires_grad_(True)


def merge_lora(model: nn.Module) -> None:
    """Add the products of low-rank matrices to the weights that they belong to, and leave a plain network."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, module.get_base_layer())
