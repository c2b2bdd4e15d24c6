"""ImageNet-R (Hendrycks et al., 2021): renditions, such as paintings, toys and tattoos, of 200 classes.

Its line: ID column val-on-imagenet-r-classes; imagenet-r. Both with logits restricted to its 200 classes.
"""

from __future__ import annotations

from functools import partial

from genrobust.data.imagenet_classes import listed_by_timm
from genrobust.data.imagenet_sets import ImageNetReader, OfficialSet, testbed_line
from genrobust.recipe import READERS


@READERS.register("imagenet-r")
class ImageNetR(ImageNetReader):
    """ImageNet-R (Hendrycks et al., 2021): renditions, such as paintings, toys and tattoos, of 200 classes."""

    official = OfficialSet(kind="imagenet-r", wnids=partial(listed_by_timm, "imagenet_r"), images=30_000)
    baseline = testbed_line(
        slope=0.63684, intercept=-2.10772, r2=0.88940, residual_sd=0.09996, n=80, lo=76.91, hi=96.50, center=2.50159
    )
