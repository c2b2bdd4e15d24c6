"""The section `tune`: the settings that `genrobust tune` tries."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StrictInt, field_validator

from genrobust.recipe.names import Name
from genrobust.recipe.section import PlainValues, Section, shown

WEIGHT, TRAIN, DATASET = "weight", "train", "dataset"  # the first words of a key of `over`
POLICIES = ("autoaugment", "randaugment", "augmix", "drawing-styles", "photograph-styles")


class TuneConfig(Section):
    """What `genrobust tune` tries: each arm of the recipe, as it is and with each combination of the values in `over`.

    `choose_by` names the shifted test sets that choose. The written recipe is not tested on them. Without it, the
    shifted validation set of the data chooses, such as `wild-val` or `shifted-val`.

    `over` maps keys to lists of values. A key is `train.KEY`; `weight`, the share of images that are not real, relative
    to the real ones; or `dataset.KEY` for generated images, such as `dataset.generator.guidance_scale` or
    `dataset.filter`.

    `seeds` is the number of trainings of each of the last arms: the best two, and the recipe's own.
    """

    choose_by: tuple[Name, ...] = ()
    over: PlainValues = Field(default_factory=lambda: {"train.augmentation": list(POLICIES)})
    seeds: Annotated[StrictInt, Field(ge=2, le=20)] = 3

    @field_validator("over")
    @classmethod
    def _check_over(cls, over: dict[str, Any]) -> dict[str, Any]:
        for key, values in over.items():
            first, _, rest = key.partition(".")
            names_a_key = first in (TRAIN, DATASET) and rest
            if key != WEIGHT and not names_a_key:
                raise ValueError(f"{shown(key)} is no key of an arm: write {TRAIN}.KEY, {DATASET}.KEY or {WEIGHT}")
            if not isinstance(values, list) or not values:
                raise ValueError(f"{key}: give a list of one value or more (got {shown(values)})")
        return over
