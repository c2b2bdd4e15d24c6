"""What a study is asked beside how its arms do: what its images are like, and which claims hold."""

from __future__ import annotations

from pydantic import model_validator

from genrobust.core import MEAN_OF_SHIFTS
from genrobust.recipe.section import Positive, Section


class QualityConfig(Section):
    """What the images of each source are like, as the CLIP `clip` sees them; see `SourceQuality`.

    `clip` is a folder, or "pictograms", the embedded one. `per_class` images of each class are looked at, the first of
    each source: FID and diversity depend on how many they are.
    """

    clip: str
    per_class: Positive = 50  # 50,000 images of ImageNet, as FID is mostly given over


class ClaimConfig(Section):
    """A claim that the study tests: `arm` is better than `than`, in `figure` on `test_set` (the mean of shifts).

    `arm` may be a group, and `than` then what its arms are compared with. `says` puts it in words, `source` names who
    made it.
    """

    says: str
    arm: str
    than: str
    figure: str = "top1"
    test_set: str = MEAN_OF_SHIFTS
    source: str = ""

    @model_validator(mode="after")
    def _two_arms(self) -> ClaimConfig:
        if self.arm == self.than:
            raise ValueError(f"the claim {self.says!r} compares {self.arm!r} with itself")
        return self
