"""ImageNet-Sketch (Wang et al., 2019): black and white drawings of all 1,000 classes.

Its line: ID column val; imagenet-sketch.
"""

from __future__ import annotations

from genrobust.core import Line
from genrobust.data.imagenet_sets import ImageNetReader, OfficialSet
from genrobust.recipe import READERS


@READERS.register("imagenet-sketch")
class ImageNetSketch(ImageNetReader):
    """ImageNet-Sketch (Wang et al., 2019): black and white drawings of all 1,000 classes."""

    official = OfficialSet(kind="imagenet-sketch", images=50_889)
    baseline = Line(
        test_set="",
        transform="logit",
        slope=1.07092,
        intercept=-2.37007,
        r2=0.86901,
        n=85,
        residual_sd=0.13306,
        lo=56.52,
        hi=84.73,
        center=1.17087,
    )
