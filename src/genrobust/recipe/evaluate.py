"""The sections on scores: evaluation, zero-shot classifiers, baseline lines, image quality and claims."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StrictFloat, StrictInt, field_validator, model_validator

from genrobust.core import MEAN_OF_SHIFTS
from genrobust.recipe.numbers import Batch, Count, Margin, PerClass, Pixels
from genrobust.recipe.section import Section


class ZeroShotConfig(Section):
    """A zero-shot classifier to compare the arms with: a CLIP that was trained on other data, given the class names.

    `clip` is a folder, or "pictograms" for the embedded CLIP. The recipe's prompts describe the classes.
    """

    clip: str


class EvaluateConfig(Section):
    """How predictions are made. These settings are stored with every score.

    `image_size` is in pixels. With `null`, it is the training size, which must be the same for all arms.

    `crop_pct` is the share of the shorter side that the center crop keeps. Most published ImageNet accuracies use
    0.875.

    `flip` averages the logits of an image and its mirror image.

    `tests` names the test sets to score, `null` for all. The unshifted test set is always scored.

    `beside` names shifts that are scored, but left out of the mean.

    `adapt: batch-norm` also scores classifiers whose batch norms are adapted to up to 256 unlabeled images of each test
    set, as the metric `top1_adapted` (Schneider et al., 2020).

    `min_images` is the least size of a shift in the mean. A smaller one is reported, but left out of the mean.
    """

    batch_size: Batch = 256
    image_size: Pixels | None = None
    crop_pct: Annotated[StrictFloat, Field(ge=0.1, le=1)] = 1
    flip: bool = False
    tests: tuple[str, ...] | None = None
    beside: tuple[str, ...] = ()
    adapt: Literal["batch-norm"] | None = None
    min_images: Count = 150

    @field_validator("tests")
    @classmethod
    def _check_tests(cls, tests: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if tests == ():
            raise ValueError("an empty list scores no shifted test set: name some, or leave the key out for all")
        return tests

    @property
    def protocol(self) -> dict[str, Any]:
        """The keys that change predictions and differ from their defaults."""
        return self.model_dump(include={"image_size", "crop_pct", "flip"}, exclude_defaults=True)


class RobustnessConfig(Section):
    """The baseline line for effective robustness, and the number of resamples.

    `baselines: shipped` are the baseline models that come with genrobust: a table for "pictograms", published lines for
    all classes of "imagenet", none for folders. Otherwise it is a CSV file, or `null` for none. The columns are
    model,test_set,clean,shifted and, if known, architecture. `clean` is the accuracy over the classes of `test_set`.

    `transform` is the scale on which the line is straight.

    `grid` is the number of small baseline models to train instead, on the real images and from scratch.

    `bootstrap` is the number of resamples.
    """

    baselines: str | None = "shipped"
    transform: Literal["logit", "probit", "linear"] = "logit"
    grid: Annotated[StrictInt, Field(ge=0, le=100)] = 0
    bootstrap: Annotated[StrictInt, Field(ge=100, le=100_000)] = 1000

    @model_validator(mode="after")
    def _check_one_line(self) -> RobustnessConfig:
        if self.grid and self.baselines not in (None, "shipped"):
            raise ValueError(f"grid: {self.grid} models would take the place of baselines: leave one of the two out")
        return self


class QualityConfig(Section):
    """Image quality of each source, measured on CLIP embeddings.

    `clip` is a folder, or "pictograms" for the embedded CLIP.

    `per_class` is the number of images of each class and source to measure. FID and diversity depend on this number.
    """

    clip: str
    per_class: PerClass = 50


class ClaimConfig(Section):
    """A claim that the study tests: `arm` is better than `than` in `metric` on `test_set`.

    `says` is the claim in words.

    `arm` is an arm or a group. A group is compared with the references of its arms.

    `than` is the other arm or group.

    `source` names who made the claim.

    `equivalent` claims instead that the two differ by at most so many points (or units of the metric).
    """

    says: str
    arm: str
    than: str
    metric: str = "top1"
    test_set: str = MEAN_OF_SHIFTS
    source: str = ""
    equivalent: Margin | None = None

    @model_validator(mode="after")
    def _check_arms_differ(self) -> ClaimConfig:
        if self.arm == self.than:
            raise ValueError(f"than: the claim {self.says!r} compares {self.arm!r} with itself")
        return self
