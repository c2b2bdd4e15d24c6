"""The size of a network, counted once and kept, since torch and timm take seconds to load."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from genrobust.recipe import TrainConfig
from genrobust.study.estimates import Rates


@dataclass(frozen=True, slots=True)
class NetworkSize:
    """The number of parameters of a network, its billions of multiply-adds per image, and its batch norms."""

    parameters: float
    multiply_adds: float
    batch_norms: float


def network_size(out: Path, train: TrainConfig, classes: int) -> NetworkSize:
    """Return the size of the network of `train`, which is kept in `out`."""
    kwargs = json.dumps(train.network_kwargs, sort_keys=True)
    return _kept_size(out, train.architecture, classes, train.image_size, kwargs)


@cache
def _kept_size(out: Path, architecture: str, classes: int, image_size: int, kwargs: str) -> NetworkSize:
    key = f"{(architecture, classes, image_size, kwargs)}, timm {metadata.version('timm')}"
    kept = Rates(out).once(key, lambda: asdict(count_size(architecture, classes, image_size, kwargs)))
    return NetworkSize(**kept)


@cache
def count_size(architecture: str, classes: int, image_size: int, kwargs: str = "{}") -> NetworkSize:
    """Count the size of a network; `kwargs` are its arguments as JSON."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from genrobust.classifiers import batch_norms, create_classifier

    # The device meta has shapes only, so this takes no memory and no time.
    with torch.device("meta"), torch.inference_mode():
        network = create_classifier(architecture, classes, image_size, json.loads(kwargs)).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, image_size, image_size))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return NetworkSize(parameters, counter.get_total_flops() / 2e9, len(batch_norms(network)))
