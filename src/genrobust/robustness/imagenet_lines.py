"""The baseline lines of ImageNet's shifts, fitted on published accuracies of standard models: figures, no table.

From the testbed of Taori et al. (2020), modestyachts/imagenet-testbed (MIT) at commit 0170eec6, robustness_top1s.csv:
the models that its model_types.csv calls STANDARD, trained on ImageNet alone without an intervention, less those whose
name holds "aws" or "batch64" (one network trained again on fewer images or in smaller batches), as its own figures
leave them out. Every model has the same weight; accuracies are transformed by the logit. ID and shifted columns:

- ImageNet-V2: val; imagenetv2-matched-frequency-format-val, -threshold-0.7-format-val, -top-images-format-val
- ImageNet-Sketch: val; imagenet-sketch
- ImageNet-R: val-on-imagenet-r-classes; imagenet-r. Both with logits restricted to its 200 classes
- ObjectNet: val-on-objectnet-classes; objectnet-1.0-beta. Both with logits restricted to the 125 ImageNet classes that
  its 113 labels mean, where any class of a label is right (one-to-many)

Each model was evaluated with its own preparation of images, mostly a centre crop of 0.875 and no flip. ImageNet-A has
no line here: it was filtered against a ResNet-50, so that its accuracies bend there. Nor has ImageNet-C.
"""

from __future__ import annotations

from dataclasses import replace

from genrobust.core import Line
from genrobust.recipe import ShiftConfig

CLASSES = 1000  # that the accuracies are over, or that their classes are a part of
SOURCE = "published standard models of the ImageNet testbed (Taori et al., 2020)"
# Transform, slope, intercept, R², n, residual SD, least and greatest ID accuracy in percent, its mean as a logit.
LINES = {
    "imagenet-v2": Line("", "logit", 0.92323, -0.49769, 0.99605, 85, 0.01862, 56.52, 84.73, 1.17087),
    "imagenet-v2 threshold": Line("", "logit", 1.00197, -0.18097, 0.99438, 85, 0.02411, 56.52, 84.73, 1.17087),
    "imagenet-v2 top": Line("", "logit", 0.98158, 0.12213, 0.99290, 85, 0.02655, 56.52, 84.73, 1.17087),
    "imagenet-sketch": Line("", "logit", 1.07092, -2.37007, 0.86901, 85, 0.13306, 56.52, 84.73, 1.17087),
    "imagenet-r": Line("", "logit", 0.63684, -2.10772, 0.88940, 80, 0.09996, 76.91, 96.50, 2.50159),
    "objectnet": Line("", "logit", 0.98091, -1.92829, 0.95251, 85, 0.08622, 56.61, 88.30, 1.33368),
}


def published_line(name: str, shift: ShiftConfig) -> Line | None:
    """The line of the shift called `name`; None for a kind of set that has none, and for the paper's map of ObjectNet.

    The versions of ImageNet-V2 are told apart by the name of their folder; without a hint in it, it is taken for the
    one with matched frequency, which most mean by ImageNet-V2.
    """
    if shift.map == "paper":
        return None
    kind = str(shift.kind)
    if kind == "imagenet-v2":
        hints = [word for word in ("threshold", "top") if word in shift.path.name.lower()]
        kind = " ".join([kind, *hints[:1]])
    found = LINES.get(kind)
    return None if found is None else replace(found, test_set=name)
