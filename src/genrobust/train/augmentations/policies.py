"""The policies of torchvision with its published defaults, and those that change no colour."""

from __future__ import annotations

from genrobust.recipe import AUGMENTATIONS, Colour, Policy

# torchvision is imported in each function: recipes ask for the names, and torch takes seconds to load.


@AUGMENTATIONS.register("standard")
@AUGMENTATIONS.register("none")
def unchanged(fill: Colour) -> Policy | None:
    """No policy. With `standard` images are cropped and mirrored all the same."""
    return None


@AUGMENTATIONS.register("autoaugment")
def autoaugment(fill: Colour) -> Policy | None:
    """The policy learned on ImageNet (Cubuk et al., 2019, arXiv:1805.09501)."""
    from torchvision.transforms import v2

    return v2.AutoAugment(fill=list(fill))


@AUGMENTATIONS.register("randaugment")
def randaugment(fill: Colour) -> Policy | None:
    """Two random operations (Cubuk et al., 2020, arXiv:1909.13719)."""
    from torchvision.transforms import v2

    return v2.RandAugment(fill=list(fill))


@AUGMENTATIONS.register("trivialaugment")
def trivialaugment(fill: Colour) -> Policy | None:
    """One random operation of random strength (Müller and Hutter, 2021, arXiv:2103.10158)."""
    from torchvision.transforms import v2

    return v2.TrivialAugmentWide(fill=list(fill))


@AUGMENTATIONS.register("augmix")
def augmix(fill: Colour) -> Policy | None:
    """A mixture of chains of operations (Hendrycks et al., 2020, arXiv:1912.02781)."""
    from torchvision.transforms import v2

    return v2.AugMix(fill=list(fill))
