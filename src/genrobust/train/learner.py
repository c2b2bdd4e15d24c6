"""The network that learns: a classifier, and its twin where images that are not real get batch norms of their own.

That is the auxiliary batch norm of AdvProp (Xie et al., 2020). timm's SplitBatchNorm2d halves a batch, but a mixture's
weights may be unequal.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from timm.optim import create_optimizer_v2, param_groups_layer_decay
from torch import Tensor, nn

from genrobust.classifiers import Classifier, LossScaler, autocast, has_fixed_size
from genrobust.core import REAL, UserError
from genrobust.recipe import TrainConfig
from genrobust.train.augment import Mix, make_mix
from genrobust.train.mixture import Mixture

Model = TypeVar("Model", bound=nn.Module)


class Learner(nn.Module):
    """A classifier and, where batch norms are split, its twin, each with its rows of every batch.

    One module, so that DDP can wrap all that learns. `mix` mixes the images of each network among themselves. `real`
    are the rows of real images, bool [B], in each stage of the mixture; None splits nothing.
    """

    def __init__(self, model: Classifier, real: Sequence[Tensor] | None, mix: Mix | None, precision: str) -> None:
        super().__init__()
        self.model = model
        self.twin = None if real is None else twin_of(model)
        # numbers of rows: a mask would make a GPU wait
        self._rows = [
            [m.nonzero()[:, 0].to(model.mean.device) for m in (rows, ~rows) if m.any()] for rows in real or ()
        ]
        self._mix, self._precision = mix, precision

    def forward(self, images: Tensor, targets: Tensor, stage: int = 0) -> tuple[Tensor, Tensor]:
        """Return the logits of float [B, 3, S, S], and the targets after mixing: the classifier's, then its twin's."""
        networks = [self.model] if self.twin is None else [self.model, self.twin]
        rows_of: Sequence[Tensor | slice] = [slice(None)] if self.twin is None else self._rows[stage]
        shares = zip(networks, rows_of, strict=False)  # the twin may have no images in a stage
        outputs = [self._forward_network(network, images[rows], targets[rows]) for network, rows in shares]
        logits, targets = (torch.cat(parts) for parts in zip(*outputs, strict=True))
        return logits, targets

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters that an architecture spares from decay, for timm's optimizers."""
        networks = {"model": self.model} if self.twin is None else {"model": self.model, "twin": self.twin}
        return {
            f"{prefix}.network.{name}" for prefix, network in networks.items() for name in spared_from_decay(network)
        }

    def _forward_network(self, network: nn.Module, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if self._mix is not None:
            images, targets = self._mix(images, targets)
        images = images.contiguous(memory_format=torch.channels_last)
        with autocast(images.device, self._precision):
            return network(images), targets


def make_learner(mixture: Mixture, model: Classifier, classes: int, config: TrainConfig, rows: slice) -> Learner:
    """Return a learner with the network `model`, for this process's `rows` of every batch.

    Raises:
        UserError: The architecture or the mixture does not go with `config`.
    """
    if config.start_size is not None and has_fixed_size(config.architecture):
        raise UserError(f"train.start_size: {config.architecture} takes images of one size alone: leave it out")
    _require_image_size(model.network, config)
    stages = range(mixture.stages)
    real = [real_rows(mixture, config, rows, stage) for stage in stages] if config.split_batchnorm else None
    return Learner(model, real, make_mix(config, classes), config.precision)


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
        _parameter_groups(learner, config),
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


def _parameter_groups(learner: Learner, config: TrainConfig) -> Learner | list[dict[str, Any]]:
    """The parameters, in groups where not all have the same rate, or others than timm's rule names decay."""
    if config.layer_decay != 1:
        return _layer_groups(learner, config)
    return learner if config.no_decay is None else _decay_groups(learner, config.no_decay)


def _layer_groups(learner: Learner, config: TrainConfig) -> list[dict[str, Any]]:
    """Return the parameters in groups, by their layer and whether they decay, each with the scale of its rate."""
    network: Any = learner.model.network  # torch types every attribute as a tensor or a module
    spared = spared_from_decay(learner.model)
    groups = param_groups_layer_decay(network, config.weight_decay, spared, layer_decay=config.layer_decay)
    if learner.twin is not None:  # its norms follow those of the network
        scales = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
        parameters, norms = dict(learner.model.named_parameters()), norm_state(learner.twin)
        for name, parameter in learner.twin.named_parameters():
            if name in norms and (scale := scales.get(id(parameters[name]))):
                groups.append({"params": [parameter], "weight_decay": 0.0, "lr_scale": scale})
    return groups


def _decay_groups(learner: Learner, excluded: Sequence[str]) -> list[dict[str, Any]]:
    """Return two groups of parameters: with weight decay, and without, where the name contains a text of `excluded`."""
    groups: tuple[dict[str, Any], ...] = ({"params": []}, {"params": [], "weight_decay": 0.0})
    for name, parameter in learner.named_parameters():
        if not parameter.requires_grad:  # LoRA's network
            continue
        local_name = name.partition("network.")[2]
        groups[any(text in local_name for text in excluded)]["params"].append(parameter)
    return [group for group in groups if group["params"]]


def spared_from_decay(model: nn.Module) -> set[str]:
    """Return the names of parameters of `model.network` that its architecture spares from decay."""
    get_names = getattr(model.network, "no_weight_decay", None)
    return set(get_names()) if callable(get_names) else set()


def twin_of(model: Model) -> Model:
    """Return a model that shares all weights of `model` but its batch norms, which begin as copies.

    Raises:
        UserError: The model has no batch norm.
    """
    norm_ids = {id(tensor) for norm in _norms(model).values() for tensor in (*norm.parameters(), *norm.buffers())}
    if not norm_ids:
        raise UserError(
            "split_batchnorm: this architecture has no batch norm to split; leave it out, or train one that has some, "
            "such as resnet50"
        )
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers()) if id(tensor) not in norm_ids}
    return copy.deepcopy(model, shared)  # what its memory holds already is not copied


def norm_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and statistics of the batch norms alone, named as in the model's own state."""
    norms = _norms(model).items()
    return {f"{name}.{key}": value for name, norm in norms for key, value in norm.state_dict().items()}


def real_rows(mixture: Mixture, config: TrainConfig, share: slice = slice(None), stage: int = 0) -> Tensor:
    """Return which of the rows `share` of every batch of a stage hold real images, bool.

    Raises:
        UserError: The share has fewer than two images of either kind, which have no variance; none that are not real
            are enough.
    """
    rows = mixture.rows(REAL, stage)[share]
    if int(rows.sum()) < 2 or int((~rows).sum()) == 1:
        whose = "a batch" if config.workers == 1 else "a worker's share"
        raise UserError(
            f"split_batchnorm: {whose} of {len(rows)} holds {int(rows.sum())} real images, and needs two or more of "
            "either kind: change the weights, after or until, or raise batch_size"
        )
    return rows


def _norms(model: nn.Module) -> dict[str, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d]:
    kinds = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
    return {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
