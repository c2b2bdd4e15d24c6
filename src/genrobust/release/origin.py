"""The recipe that a generated dataset came from, which goes along with an export."""

from __future__ import annotations

from dataclasses import dataclass

RECIPE = "recipe.yaml"  # the name of its file in an export


@dataclass(frozen=True, slots=True)
class Origin:
    """A recipe with all its values, as `recipe`, and the name that it gives to the dataset (see `origins`)."""

    recipe: str
    dataset: str
