"""The networks that a recipe may name: all of timm's, and those of Bansal and Grover (2023) by their usual names."""

from __future__ import annotations

import difflib
from typing import Any

import timm
import torch
import torchvision
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import generate_default_cfgs, register_model
from torch import Tensor

from genrobust.core import UserError

__all__ = ["PAPER", "AlexNet", "has_fixed_size", "timm_name"]  # where timm adds what it registers

# The eight architectures of "Leaving Reality to Imagination" (arXiv 2302.02503), section 3, as timm calls them. The
# first five names are also torchvision's; of Inception the paper's code names no version, so the third stands for it.
PAPER = {
    "resnet18": "resnet18",
    "alexnet": "alexnet",
    "efficientnet_b0": "efficientnet_b0",
    "mobilenet_v2": "mobilenetv2_100",
    "vgg16_bn": "vgg16_bn",
    "resnext50": "resnext50_32x4d",
    "resnext101": "resnext101_32x8d",
    "inception": "inception_v3",
}

default_cfgs = generate_default_cfgs(  # where timm's registry looks for it
    {
        "alexnet.untrained": {
            "input_size": (3, 224, 224),
            "min_input_size": (3, 63, 63),
            "mean": IMAGENET_DEFAULT_MEAN,
            "std": IMAGENET_DEFAULT_STD,
            "classifier": "classifier.6",
        }
    }
)


class AlexNet(torchvision.models.AlexNet):
    """torchvision's AlexNet (Krizhevsky 2014, in one tower), with timm's two halves of a forward pass."""

    def forward_features(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] of 63 px or more to features [B, 256, h, w]."""
        return self.features(images)  # type: ignore[no-any-return]  # torch types no module's result

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """The logits [B, K], or what the last layer makes them from, [B, 4096]."""
        flat = torch.flatten(self.avgpool(features), 1)
        return (self.classifier[:-1] if pre_logits else self.classifier)(flat)  # type: ignore[no-any-return]


@register_model
def alexnet(
    pretrained: bool = False,
    pretrained_cfg: Any = None,
    pretrained_cfg_overlay: Any = None,
    cache_dir: Any = None,
    num_classes: int = 1000,
    dropout: float = 0.5,
) -> AlexNet:
    """AlexNet, which timm lacks, under that name in timm's registry, which passes the first four to every network."""
    del pretrained, pretrained_cfg, pretrained_cfg_overlay, cache_dir  # they say where weights are, and there are none
    network = AlexNet(num_classes, dropout)
    network.pretrained_cfg = default_cfgs["alexnet"].default.to_dict()  # type: ignore[assignment]
    return network


def timm_name(architecture: str) -> str:
    """What timm calls `architecture`; raises UserError with near names where neither timm nor the paper has it."""
    name = PAPER.get(architecture, architecture)
    if timm.is_model(name):
        return name
    near = difflib.get_close_matches(architecture, [*PAPER, *timm.list_models()], n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() lists them"
    raise UserError(f"timm knows no architecture {architecture!r}; {hint}")


def has_fixed_size(architecture: str) -> bool:
    """Whether the network is made for images of one size, as most transformers are. Raises as `timm_name` does."""
    settings = timm.get_pretrained_cfg(timm_name(architecture))
    return settings is not None and settings.fixed_input_size
