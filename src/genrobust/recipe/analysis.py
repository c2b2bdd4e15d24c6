"""What a study analyzes beside the robustness of its arms: the quality of its images, and claims to test."""

from __future__ import annotations

from pydantic import model_validator

from genrobust.core import MEAN_OF_SHIFTS
from genrobust.recipe.section import Positive, Section


class QualityConfig(Section):
    """Quality of the images of each source, measured in the embeddings of a CLIP; see `SourceQuality`.

    `clip` is a folder, or "pictograms", the embedded one. The first `per_class` images of each class are measured, of
    every source alike: FID and diversity depend on their number.
    """

    clip: str
    per_class: Positive = 50  # 50,000 images of ImageNet, the usual number for FID


class ClaimConfig(Section):
    """A claim that the study tests: `arm` is better than `than` in `figure` on `test_set`.

    Either may be a group; a group is compared with the references of its arms. `says` states the claim in words,
    `source` names who made it.
    """

    says: str
    arm: str
    than: str
    figure: str = "top1"
    test_set: str = MEAN_OF_SHIFTS
    source: str = ""

    @model_validator(mode="after")
    def _check_arms_differ(self) -> ClaimConfig:
        if self.arm == self.than:
            raise ValueError(f"than: the claim {self.says!r} compares {self.arm!r} with itself")
        return self
