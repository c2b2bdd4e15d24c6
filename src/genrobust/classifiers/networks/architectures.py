"""The networks that a recipe may name: timm's, and the networks of Bansal and Grover (2023) by their usual names."""

from __future__ import annotations

from typing import Any

import timm
import torch
import torchvision
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn
from torch.nn import functional as F

from genrobust.core import UserError, did_you_mean

LEAST_BLURRED = 16  # input channels: FFCV does not blur the image itself

# The eight architectures of "Leaving Reality to Imagination" (arXiv 2302.02503), section 3, as timm calls them. The
# first five names are also torchvision's. The paper's code names no version of Inception: we take the third.
PAPER_NAMES = {
    "resnet18": "resnet18",
    "alexnet": "alexnet",
    "efficientnet_b0": "efficientnet_b0",
    "mobilenet_v2": "mobilenetv2_100",
    "vgg16_bn": "vgg16_bn",
    "resnext50": "resnext50_32x4d",
    "resnext101": "resnext101_32x8d",
    "inception": "inception_v3",
}


class AlexNet(torchvision.models.AlexNet):
    """AlexNet of torchvision (Krizhevsky 2014, in one tower) with the attributes of timm's networks. timm has none."""

    pretrained_cfg = {  # noqa: RUF012  # as timm's
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "classifier": "classifier.6",
    }


OWN_NETWORKS = {"alexnet": AlexNet}  # by the name that timm would give them


def make_network(architecture: str, num_classes: int, *, blur_pool: bool = False, **arguments: Any) -> nn.Module:
    """Make a network with random weights. timm raises errors of many types if `arguments` do not fit."""
    name = timm_name(architecture)
    if name in OWN_NETWORKS:
        network: nn.Module = OWN_NETWORKS[name](num_classes, **arguments)
    else:
        network = timm.create_model(name, num_classes=num_classes, **arguments)
    if blur_pool:
        add_blur_pool(network)
    return network


def add_blur_pool(network: nn.Module) -> None:
    """Blur the input of every convolution of `network` that has a stride and `LEAST_BLURRED` input channels or more.

    These are the convolutions that FFCV's ImageNet example wraps in its BlurPool (after Zhang, 2019, "Making
    convolutional networks shift-invariant again"); the weights and their names stay.
    """
    binomial = torch.tensor([1.0, 2.0, 1.0])
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and max(module.stride) > 1 and module.in_channels >= LEAST_BLURRED:
            # Not part of the state: a checkpoint has the names of the plain network.
            module.register_buffer("blur", torch.outer(binomial, binomial)[None, None] / 16, persistent=False)
            module.register_forward_pre_hook(_blur)


def _blur(module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    """Filter each channel of [B, C, H, W] with the 3 x 3 kernel of `module`, zeros beyond the edges."""
    (images,) = inputs
    # torch types every attribute as a tensor or a module.
    kernel: Any = module.blur
    return F.conv2d(images, kernel.expand(images.shape[1], 1, 3, 3), padding=1, groups=images.shape[1])


def timm_name(architecture: str) -> str:
    """Return timm's name for `architecture`."""
    name = PAPER_NAMES.get(architecture, architecture)
    if name in OWN_NETWORKS or timm.is_model(name):
        return name
    hint = did_you_mean(architecture, [*PAPER_NAMES, *timm.list_models()], "timm.list_models() lists them")
    raise UserError(f"timm knows no architecture {architecture!r}; {hint}")


def has_fixed_size(architecture: str) -> bool:
    """Return whether the network takes images of one size, as most transformers do."""
    name = timm_name(architecture)
    settings = None if name in OWN_NETWORKS else timm.get_pretrained_cfg(name)
    return settings is not None and settings.fixed_input_size


def require_size(architecture: str, trained: int, tested: int) -> None:
    """Raise UserError if a network that was trained on images of `trained` pixels cannot be tested on `tested`."""
    if tested != trained and has_fixed_size(architecture):
        raise UserError(
            f"evaluate.image_size: {architecture} takes images of the {trained} px that it is trained on alone, not of "
            f"{tested}: leave the key out"
        )
