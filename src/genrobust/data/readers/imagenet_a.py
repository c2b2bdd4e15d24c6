"""ImageNet-A (Hendrycks et al., 2021): photographs of 200 classes that a ResNet-50 got wrong.

It has no line: it was filtered against that ResNet-50, so that accuracies bend at its own.
"""

from __future__ import annotations

from functools import partial

from genrobust.data.imagenet_classes import listed_by_timm
from genrobust.data.imagenet_sets import ImageNetReader, OfficialSet
from genrobust.recipe import READERS


@READERS.register("imagenet-a")
class ImageNetA(ImageNetReader):
    """ImageNet-A (Hendrycks et al., 2021): photographs of 200 classes that a ResNet-50 got wrong."""

    official = OfficialSet(kind="imagenet-a", wnids=partial(listed_by_timm, "imagenet_a"), images=7_500)
