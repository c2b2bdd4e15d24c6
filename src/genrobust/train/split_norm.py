"""Batch norms of their own for images that are not real: the auxiliary batch norm of AdvProp (Xie et al., 2020).

timm's SplitBatchNorm2d halves a batch, but a mixture's weights may be unequal.
"""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from genrobust.core import REAL, UserError
from genrobust.recipe import TrainConfig
from genrobust.train.mixture import Mixture

Model = TypeVar("Model", bound=nn.Module)


def twin_of(model: Model) -> Model:
    """Return a model that shares all weights of `model` but its batch norms, which begin as copies.

    Raises:
        UserError: The model has no batch norm.
    """
    own = {id(tensor) for norm in _norms(model).values() for tensor in (*norm.parameters(), *norm.buffers())}
    if not own:
        raise UserError(
            "split_batchnorm: this architecture has no batch norm to split; leave it out, or train one that has some, "
            "such as resnet50"
        )
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers()) if id(tensor) not in own}
    return copy.deepcopy(model, shared)  # what its memory holds already is not copied


def norm_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and statistics of the batch norms alone, named as in the model's own state."""
    norms = _norms(model).items()
    return {f"{name}.{key}": value for name, norm in norms for key, value in norm.state_dict().items()}


def real_rows(mixture: Mixture, config: TrainConfig, share: slice = slice(None)) -> Tensor:
    """Return which of the rows `share` of every batch hold real images, bool.

    Raises:
        UserError: `config` cannot split the mixture, or the share has fewer than two images of either kind, which have
            no variance.
    """
    weighted = all(source.weight is not None for source in mixture.sources)
    if why := config.unsplittable(list(mixture.counts), weighted):
        raise UserError(why)
    rows = mixture.rows(REAL)[share]
    if min(int(rows.sum()), int((~rows).sum())) < 2:
        whose = "a batch" if config.workers == 1 else "a worker's share"
        raise UserError(
            f"split_batchnorm: {whose} of {len(rows)} holds {int(rows.sum())} real images, and needs two or more of "
            "either kind: change the weights, or raise batch_size"
        )
    return rows


def _norms(model: nn.Module) -> dict[str, _BatchNorm]:
    return {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
