"""The policies of torchvision with its published defaults, and the two that change no color."""

from __future__ import annotations

from functools import partial

from genrobust.recipe import AUGMENTATIONS, Color, Policy

TORCHVISION = {
    "autoaugment": "AutoAugment",  # learned on ImageNet: Cubuk et al., 2019, arXiv:1805.09501
    "randaugment": "RandAugment",  # two random operations: Cubuk et al., 2020, arXiv:1909.13719
    "trivialaugment": "TrivialAugmentWide",  # one of random strength: Müller and Hutter, 2021, arXiv:2103.10158
    "augmix": "AugMix",  # a mixture of chains of them: Hendrycks et al., 2020, arXiv:1912.02781
}


@AUGMENTATIONS.register("none")
@AUGMENTATIONS.register("standard")  # crops and mirrors all the same
def _unchanged(fill: Color) -> Policy | None:
    return None


def _of_torchvision(name: str, fill: Color) -> Policy | None:
    from torchvision.transforms import v2  # recipes ask for the names, and torch takes seconds to load

    policy: Policy = getattr(v2, name)(fill=list(fill))
    return policy


for _key, _name in TORCHVISION.items():
    AUGMENTATIONS.register(_key)(partial(_of_torchvision, _name))
