"""The section of what `genrobust tune` tries."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from genrobust.recipe.names import Name
from genrobust.recipe.numbers import Between
from genrobust.recipe.section import PlainValues, Section, shown

WEIGHT, TRAIN, DATASET = "weight", "train", "dataset"  # what a key of `over` begins with
POLICIES = ("autoaugment", "randaugment", "augmix", "drawing-styles", "photograph-styles")


class TuneConfig(Section):
    """What `genrobust tune` tries: every arm of the recipe, as it is and with all combinations of the values in `over`.

    `choose_by` names the shifted test sets that choose. The recipe that tuning writes is not tested on them. Without
    it, the data's own shifted validation set chooses, such as `wild-val` or `shifted-val`.

    A key of `over` is `train.KEY` for the training of an arm, `weight` for the share of its images that are not real,
    relative to the real ones, or `dataset.KEY` for its generated images: `dataset.generator.guidance_scale`,
    `dataset.generate.per_class` or `dataset.filter`. Arms that have no such images are not varied by it. The last
    rounds compare the best two with the recipe's own arm over `seeds` trainings of each.
    """

    choose_by: tuple[Name, ...] = ()
    over: PlainValues = Field(default_factory=lambda: {"train.augmentation": list(POLICIES)})
    seeds: Annotated[int, Between(2, 20, "one training says nothing about how much trainings vary")] = 3

    @field_validator("over")
    @classmethod
    def _check_over(cls, over: dict[str, Any]) -> dict[str, Any]:
        for key, values in over.items():
            begin, _, rest = key.partition(".")
            if not (key == WEIGHT or (begin in (TRAIN, DATASET) and rest)):
                raise ValueError(f"{shown(key)} is no key of an arm: write {TRAIN}.KEY, {DATASET}.KEY or {WEIGHT}")
            if not isinstance(values, list) or not values:
                raise ValueError(f"{key}: give a list of one value or more (got {shown(values)})")
        return over
