"""Published shifted sets in ImageNet's class folders, with the lines of standard models.

ImageNet-A has no line: its images were chosen by the mistakes of a ResNet-50, so accuracies bend at that network's own.
The lines of the others are fitted on these columns of the testbed. ImageNet-R: imagenet-r against
val-on-imagenet-r-classes, both with logits restricted to the 200 classes. Sketch and V2: imagenet-sketch,
imagenetv2-matched-frequency-format-val, -threshold-0.7-format-val and -top-images-format-val, each against val.
"""

from __future__ import annotations

import re
from functools import partial

from genrobust.core import Line
from genrobust.data.imagenet_classes import listed_by_timm
from genrobust.data.imagenet_sets import ImageNetReader, OfficialSet, testbed_line
from genrobust.recipe import READERS


@READERS.register("imagenet-a")
class ImageNetA(ImageNetReader):
    """ImageNet-A (Hendrycks et al., 2021): photographs of 200 classes that a ResNet-50 got wrong."""

    official = OfficialSet(kind="imagenet-a", wnids=partial(listed_by_timm, "imagenet_a"), images=7_500)


@READERS.register("imagenet-r")
class ImageNetR(ImageNetReader):
    """ImageNet-R (Hendrycks et al., 2021): renditions, such as paintings, toys and tattoos, of 200 classes."""

    official = OfficialSet(kind="imagenet-r", wnids=partial(listed_by_timm, "imagenet_r"), images=30_000)
    baseline = testbed_line(
        slope=0.63684, intercept=-2.10772, r2=0.88940, residual_sd=0.09996, n=80, lo=76.91, hi=96.50, center=2.50159
    )


@READERS.register("imagenet-sketch")
class ImageNetSketch(ImageNetReader):
    """ImageNet-Sketch (Wang et al., 2019): black and white drawings of all 1,000 classes."""

    official = OfficialSet(kind="imagenet-sketch", images=50_889)
    baseline = testbed_line(slope=1.07092, intercept=-2.37007, r2=0.86901, residual_sd=0.13306)


# Lines of the versions of ImageNet-V2, by a word in their names.
V2_LINES = {
    "matched": testbed_line(slope=0.92323, intercept=-0.49769, r2=0.99605, residual_sd=0.01862),
    "threshold": testbed_line(slope=1.00197, intercept=-0.18097, r2=0.99438, residual_sd=0.02411),
    "top": testbed_line(slope=0.98158, intercept=0.12213, r2=0.99290, residual_sd=0.02655),
}


@READERS.register("imagenet-v2")
class ImageNetV2(ImageNetReader):
    """ImageNet-V2 (Recht et al., 2019): new images of all 1,000 classes, in any of its three versions."""

    official = OfficialSet(kind="imagenet-v2", each=10)
    baseline = V2_LINES["matched"]

    def line(self) -> Line | None:
        """Return the line of the version that the path names. By default, it is the matched version.

        The version may be in the last part of the path, such as ``top-images``, or in any part that contains ``v2``.
        """
        parents = [part for part in reversed(self.path.parts[:-1]) if "v2" in part.lower()]
        for part in (self.path.name, *parents):
            for version, line in V2_LINES.items():
                # At the start of a word: "top" is in "imagenetv2-top-images", not in "desktop".
                if re.search(rf"(?<![a-z]){version}", part.lower()):
                    return line
        return self.baseline
