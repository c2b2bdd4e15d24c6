"""ImageNet-Sketch (Wang et al., 2019): black and white drawings of all 1,000 classes.

Its line: ID column val; imagenet-sketch.
"""

from __future__ import annotations

from genrobust.data.imagenet_sets import ImageNetReader, OfficialSet, testbed_line
from genrobust.recipe import READERS


@READERS.register("imagenet-sketch")
class ImageNetSketch(ImageNetReader):
    """ImageNet-Sketch (Wang et al., 2019): black and white drawings of all 1,000 classes."""

    official = OfficialSet(kind="imagenet-sketch", images=50_889)
    baseline = testbed_line(slope=1.07092, intercept=-2.37007, r2=0.86901, residual_sd=0.13306)
