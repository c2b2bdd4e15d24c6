"""The policies of torchvision with their published defaults, and the two policies that change no color."""

from __future__ import annotations

from typing import ClassVar

from genrobust.recipe import AUGMENTATIONS, Augmentation, Color, Policy


@AUGMENTATIONS.register("standard")
class Standard(Augmentation):
    """Crops and mirrors, and changes nothing else."""

    changes = False

    def policy(self, fill: Color) -> Policy | None:
        return None


@AUGMENTATIONS.register("none")
class Unchanged(Standard):
    """Neither crops nor mirrors."""

    crops = False


class OfTorchvision(Augmentation):
    """A policy of torchvision.

    Attributes:
        transform: Its class in `torchvision.transforms.v2`.
    """

    transform: ClassVar[str]

    def policy(self, fill: Color) -> Policy | None:
        # Import late: reading a recipe must not load torch, which takes seconds.
        from torchvision.transforms import v2

        policy: Policy = getattr(v2, self.transform)(fill=list(fill))
        return policy


@AUGMENTATIONS.register("autoaugment")
class AutoAugment(OfTorchvision):
    """Operations that were learned on ImageNet (Cubuk et al., 2019, arXiv:1805.09501)."""

    transform = "AutoAugment"


@AUGMENTATIONS.register("randaugment")
class RandAugment(OfTorchvision):
    """Two random operations (Cubuk et al., 2020, arXiv:1909.13719)."""

    transform = "RandAugment"


@AUGMENTATIONS.register("trivialaugment")
class TrivialAugment(OfTorchvision):
    """One operation of random strength (Müller and Hutter, 2021, arXiv:2103.10158)."""

    transform = "TrivialAugmentWide"


@AUGMENTATIONS.register("augmix")
class AugMix(OfTorchvision):
    """A mixture of chains of operations (Hendrycks et al., 2020, arXiv:1912.02781)."""

    transform = "AugMix"
