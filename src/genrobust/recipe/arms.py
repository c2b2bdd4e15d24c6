"""The section `arms`: the mixtures of images that classifiers are trained on."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictFloat, field_validator, model_validator

from genrobust.recipe.names import Name
from genrobust.recipe.numbers import Count, PositiveFraction
from genrobust.recipe.section import PlainValues, Section, later_key

DRAWING = {"balance", "cells"}  # keys of a part that choose its images and the order in which they are drawn


def _drop_whole(share: float | None) -> float | None:
    """Return None for the whole, so that the same images have one name."""
    return None if share == 1 else share


class MixturePart(Section):
    """A part of an arm's training images.

    `source` is `real`, `generated`, a name of the recipe's `datasets`, of `data.extra` or of `data.unlabeled`, or
    retrieved images:
    `retrieved` (from the generator's training data, as many of each class and style as were generated),
    `retrieved-by-class` (the same in any style), `retrieved-by-search` (found by a CLIP among unlabeled images),
    `retrieved-all` (all labeled images to retrieve) or `retrieved-withheld` (the images that `data.retrieved.without`
    excludes).

    `cells: withheld` takes only images of the classes in styles that are excluded. They fill this hole.

    `labels` is the arm that predicts the labels of a source of `data.unlabeled`: its classifier with the same seed. The
    images with the highest confidence of each predicted class come first. So limit `per_class`: without a limit, most
    images may be of the few classes that the arm prefers.

    `per_class` is the largest number of images of each class.

    `fraction` takes this fraction of each class.

    `weight` is the relative share of each batch. With `null`, a source has a share in proportion to its number of
    images, as in a plain concatenation.

    `balance` draws each class equally often, or each style, or with both each class in each style that it has.
    """

    source: Name
    cells: Literal["all", "withheld"] = later_key("all")
    labels: Name | None = later_key(None)
    per_class: Count | None = None
    fraction: Annotated[PositiveFraction | None, AfterValidator(_drop_whole)] = None
    weight: Annotated[StrictFloat, Field(ge=1e-6, le=1e6)] | None = None
    balance: tuple[Literal["class", "style"], ...] = later_key(())

    @property
    def drawing(self) -> dict[str, Any]:
        """The keys that decide how images are drawn, if they differ from their defaults."""
        return self.model_dump(include=DRAWING, exclude_defaults=True)

    @property
    def drawing_in_words(self) -> str:
        """Describe `drawing`: "balanced by class", or "" for the defaults."""
        words = {
            "cells": "withheld cells alone",
            "balance": f"balanced by {' and '.join(self.balance)}",
        }
        return ", ".join(str(words[key]) for key in words if key in self.drawing)


class ArmConfig(Section):
    """A mixture of images to train on, with a name.

    `train` overrides keys of the recipe's section `train`.

    `group` is a name that several arms share. The report averages them, for example one mixture with several
    architectures. A group is compared with another one if its arms have one reference, or the arms of one group as
    references.

    `reference` is the arm that this one is compared with. With `null`, it is the recipe's.
    """

    name: Name
    mixture: tuple[MixturePart, ...]
    train: PlainValues = Field(default_factory=dict)
    group: Name | None = None
    reference: Name | None = None

    @field_validator("mixture", mode="before")
    @classmethod
    def _accept_names(cls, value: Any) -> Any:
        """Accept a name instead of a part, and one name instead of a list."""
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list):
            return value
        return [{"source": part} if isinstance(part, str) else part for part in value]

    @field_validator("mixture")
    @classmethod
    def _drop_idle_weight(cls, mixture: tuple[MixturePart, ...]) -> tuple[MixturePart, ...]:
        """Drop the weight of a single part. It is relative and changes nothing, and the same training has one name."""
        if len(mixture) != 1:
            return mixture
        return (mixture[0].model_copy(update={"weight": None}),)

    @model_validator(mode="after")
    def _check_mixture(self) -> ArmConfig:
        where = f"arm {self.name!r}: mixture"
        sources = [part.source for part in self.mixture]
        if not sources or len(set(sources)) != len(sources):
            raise ValueError(f"{where}: name one source or more, each once")
        if len({part.weight is None for part in self.mixture}) > 1:
            raise ValueError(f"{where}: give every source a weight, or none")
        for part in self.mixture:
            if part.weight is None and len(sources) > 1 and part.balance:
                raise ValueError(
                    f"{where}: {part.source}: balance: it needs a share of the batch: give every source a weight"
                )
        return self
