"""ImageNet-Sketch (Wang et al., 2019): black and white drawings of all 1,000 classes.

Its line: ID column val; imagenet-sketch.
"""

from __future__ import annotations

from genrobust.core import Line
from genrobust.data.imagenet_sets import ImageNetSet
from genrobust.data.reader import READERS

LINE = Line("", "logit", 1.07092, -2.37007, 0.86901, 85, 0.13306, 56.52, 84.73, 1.17087)
READERS.register("imagenet-sketch")(ImageNetSet(kind="imagenet-sketch", images=50_889, baseline=LINE))
