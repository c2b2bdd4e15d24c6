"""ImageNet-V2 (Recht et al., 2019): new images of all 1,000 classes, in any of its three versions.

Its line: ID column val; imagenetv2-matched-frequency-format-val, -threshold-0.7-format-val, -top-images-format-val.
"""

from __future__ import annotations

from genrobust.core import Line
from genrobust.data.imagenet_sets import ImageNetReader, OfficialSet, testbed_line
from genrobust.recipe import READERS

LINES = {
    "threshold": testbed_line(slope=1.00197, intercept=-0.18097, r2=0.99438, residual_sd=0.02411),
    "top": testbed_line(slope=0.98158, intercept=0.12213, r2=0.99290, residual_sd=0.02655),
}


@READERS.register("imagenet-v2")
class ImageNetV2(ImageNetReader):
    """ImageNet-V2 (Recht et al., 2019): new images of all 1,000 classes, in any of its three versions."""

    official = OfficialSet(kind="imagenet-v2", each=10)
    baseline = testbed_line(slope=0.92323, intercept=-0.49769, r2=0.99605, residual_sd=0.01862)

    def line(self) -> Line | None:
        """Return the line of the version that the folder's name hints at, by default that with matched frequency."""
        hints = [word for word in LINES if word in self.path.name.lower()]
        return LINES[hints[0]] if hints else self.baseline
