"""What work costs, in billions of multiply-adds, and how many of them this machine does in a second."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

from genrobust.core import EMBEDDED, FLOAT32, DiskFull
from genrobust.recipe import GeneratorConfig, TrainConfig
from genrobust.study.estimates.rates import Cost, measured_once

# By measurement of the pictograms study on one thread, in multiply-adds of the convolutions that are measured:
TRAIN = 6.0  # what one of a network costs in training, forth and back
ANSWER = 2.0  # and one that only answers
DECODE = 0.01  # an image that is read and prepared
EMBEDDED_STEP = 0.4  # a step of the embedded generator for one image
EMBEDDED_CLIP = 0.1  # an image that the embedded CLIP sees
HALF = 1.4  # how many times more bfloat16 gains on these than on whole networks: `pictograms`, AVX512_BF16, 2026-11-30
EMBEDDED_PIXELS, LATENT_SIDE = 64, 8  # the side of its images, and how many pixels one of a latent stands for
CHANNELS, PIXELS, BATCH = 64, 32, 32  # of the first of three convolutions that are measured, each half as wide


def measure_speed(precision: str, seconds: float) -> float:
    """Return the billions of multiply-adds a second of small convolutions in this process, on its CPU.

    In half precision it is divided by `HALF`: norms and casts stay as slow as they were.
    """
    import torch
    from torch import nn

    dtype = getattr(torch, precision)
    layers = [
        (
            nn.Conv2d(width, width, 3, padding=1).to(dtype).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
            torch.ones(BATCH, width, pixels, pixels, dtype=dtype).contiguous(memory_format=torch.channels_last),
        )
        for width, pixels in ((CHANNELS << n, PIXELS >> n) for n in range(3))
    ]
    each = sum(9 * x.numel() * x.shape[1] for _, x in layers) / 1e9
    with torch.inference_mode():
        for layer, x in layers:
            layer(x)
        count, began = 0, time.monotonic()
        while (spent := time.monotonic() - began) < seconds:
            for layer, x in layers:
                layer(x)
            count += 1
    return count * each / spent / (1 if precision == FLOAT32 else HALF)


@dataclass(frozen=True, slots=True)
class NetworkSize:
    """The number of parameters of a network, and its billions of multiply-adds for an image."""

    parameters: int
    multiply_adds: float


def network_size(out: Path, train: TrainConfig, classes: int) -> NetworkSize:
    """Return the size of the network of `train`; it is kept in `out`, if that is there and has room."""
    how = train.architecture, classes, train.image_size, json.dumps(train.network_kwargs, sort_keys=True)
    if out.exists():
        with suppress(DiskFull):
            return _kept_size(out, *how)
    return _count(*how)


@cache
def _kept_size(out: Path, *how: Any) -> NetworkSize:
    name = f"{how}, timm {metadata.version('timm')}"
    kept = [measured_once(out, of, name, partial(_counted, of, *how)) for of in NetworkSize.__slots__]
    return NetworkSize(round(kept[0]), kept[1])


def _counted(of: str, *how: Any) -> float:
    return float(getattr(_count(*how), of))


@cache
def _count(architecture: str, classes: int, image_size: int, model_kwargs: str) -> NetworkSize:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from genrobust.classifiers import create_classifier

    with torch.device("meta"), torch.inference_mode():  # shapes alone: no memory, no time
        network = create_classifier(architecture, classes, image_size, json.loads(model_kwargs)).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, image_size, image_size))
    return NetworkSize(sum(p.numel() for p in network.parameters()), counter.get_total_flops() / 2e9)


def clip_cost(clip: str) -> Cost:
    """Return what it takes to show an image to a CLIP."""
    return Cost(EMBEDDED_CLIP) if clip == EMBEDDED else Cost(1, of=f"CLIP {clip}")


def step_cost(generator: GeneratorConfig) -> Cost:
    """Return what a step of a generator takes for one image."""
    width, height = generator.size
    if generator.model == EMBEDDED:
        pixels = (width or EMBEDDED_PIXELS) * (height or EMBEDDED_PIXELS)
        return Cost(EMBEDDED_STEP * pixels / EMBEDDED_PIXELS**2, generator.precision)
    pixels = (width or 1) * (height or 1)  # comparable for one generator alone
    return Cost(pixels, generator.precision, generator.model)
