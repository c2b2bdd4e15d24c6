"""Claims of what a study expects to find, written down before it runs."""

from __future__ import annotations

from pydantic import model_validator

from genrobust.core import MEAN_OF_SHIFTS
from genrobust.recipe.section import Section


class ClaimConfig(Section):
    """A claim that the study tests: `arm` is better than `than` in `metric` on `test_set`.

    Either may be a group; a group is compared with the references of its arms.

    `says` states the claim in words.

    `source` names who made it.
    """

    says: str
    arm: str
    than: str
    metric: str = "top1"
    test_set: str = MEAN_OF_SHIFTS
    source: str = ""

    @model_validator(mode="after")
    def _check_arms_differ(self) -> ClaimConfig:
        if self.arm == self.than:
            raise ValueError(f"than: the claim {self.says!r} compares {self.arm!r} with itself")
        return self
