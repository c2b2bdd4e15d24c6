"""ImageNet-V2 (Recht et al., 2019): new images of all 1,000 classes, in any of its three versions.

Its line: ID column val; imagenetv2-matched-frequency-format-val, -threshold-0.7-format-val, -top-images-format-val.
"""

from __future__ import annotations

from genrobust.core import Line
from genrobust.data.imagenet_sets import ImageNetReader, OfficialSet
from genrobust.recipe import READERS

LINES = {
    "threshold": Line(
        test_set="",
        transform="logit",
        slope=1.00197,
        intercept=-0.18097,
        r2=0.99438,
        n=85,
        residual_sd=0.02411,
        lo=56.52,
        hi=84.73,
        center=1.17087,
    ),
    "top": Line(
        test_set="",
        transform="logit",
        slope=0.98158,
        intercept=0.12213,
        r2=0.99290,
        n=85,
        residual_sd=0.02655,
        lo=56.52,
        hi=84.73,
        center=1.17087,
    ),
}


@READERS.register("imagenet-v2")
class ImageNetV2(ImageNetReader):
    """ImageNet-V2 (Recht et al., 2019): new images of all 1,000 classes, in any of its three versions."""

    official = OfficialSet(kind="imagenet-v2", each=10)
    baseline = Line(
        test_set="",
        transform="logit",
        slope=0.92323,
        intercept=-0.49769,
        r2=0.99605,
        n=85,
        residual_sd=0.01862,
        lo=56.52,
        hi=84.73,
        center=1.17087,
    )

    def line(self) -> Line | None:
        """Return the line of the version that the folder's name hints at, by default that with matched frequency."""
        hints = [word for word in LINES if word in self.path.name.lower()]
        return LINES[hints[0]] if hints else self.baseline
