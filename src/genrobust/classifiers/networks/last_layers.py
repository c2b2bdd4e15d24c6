"""The last layer of a network: its name, and a last layer for CLIPs, whose logits are scaled cosines."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import normalize

from genrobust.core import UserError

COSINE = "cosine_head"  # among the arguments of a network: the width of a CLIP's embeddings


class CosineHead(nn.Module):
    """The last layers of a zero-shot classifier: a projection without bias, unit length, and a linear layer.

    If the row of each class is the unit embedding of its texts times the scale of the logits, the logits are the CLIP's
    own.
    """

    def __init__(self, features: int, width: int, classes: int) -> None:
        super().__init__()
        self.projection = nn.Linear(features, width, bias=False)
        self.classes = nn.Linear(width, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Turn features [B, D] into logits [B, K]."""
        return self.classes(normalize(self.projection(features), dim=-1))  # type: ignore[no-any-return]


def add_cosine_head(network: nn.Module, width: int, classes: int) -> None:
    """Replace the last layer of a network by a `CosineHead` of random weights."""
    name = head_name(network)
    last = network.get_submodule(name)
    if not isinstance(last, nn.Linear):
        raise UserError(f"{COSINE}: its last layer {name} is not linear")
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, CosineHead(last.in_features, width, classes))


def head_name(network: nn.Module) -> str:
    """Return the name of the layer that makes the logits."""
    config: Any = getattr(network, "pretrained_cfg", None) or {}
    name = config.get("classifier")
    if not isinstance(name, str) or not name:
        raise UserError(
            f"train.init: {type(network).__name__} has no last layer of its own that could be replaced: take another "
            "network"
        )
    if isinstance(network.get_submodule(name), CosineHead):
        return f"{name}.classes"
    return name


def last_linear(network: nn.Module) -> nn.Linear:
    """Return the linear layer, with a bias, that makes the logits."""
    last = network.get_submodule(head_name(network))
    if not isinstance(last, nn.Linear) or last.bias is None:
        raise UserError(
            f"train.method: a linear probe needs a linear last layer with a bias, and {type(network).__name__} ends in "
            f"{last}: fine-tune all of it with method: full"
        )
    return last
