"""The registry of augmentation policies: recipes name them, and training applies them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from genrobust.core import Registry

if TYPE_CHECKING:  # torch takes seconds, and names are checked without it
    from torch import Tensor

Color = tuple[int, int, int]
Policy = Callable[["Tensor"], "Tensor"]  # of one image, uint8 [3, H, W], to another of that shape
# Makes a policy, given the color of what lies beyond a turned or moved image; None changes nothing.
PolicyMaker = Callable[[Color], Policy | None]

AUGMENTATIONS: Registry[PolicyMaker] = Registry(
    "train.augmentation", "genrobust.augmentations", "genrobust.train.augmentations"
)
