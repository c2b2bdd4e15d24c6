"""Estimates for images without labels, as a report shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EstimatorErrors:
    """The errors of an estimator on the labeled shifts of a study.

    Attributes:
        name: The name in the registry.
        shifts: The number of labeled shifts. Without any, `mean` and `largest` are None.
        corrected: Whether estimates are corrected by a line through the labeled sets. Then the error on a shift is that
            of a line through all other sets.
        mean: The mean absolute error over shifts and arms, in points.
        largest: The largest absolute error, in points.
        pairs: The number of differences between an arm and its reference on a labeled shift of a point or more.
        right_signs: The number of these differences whose sign the estimates have, too.
    """

    name: str
    title: str
    note: str
    shifts: int
    corrected: bool
    mean: float | None
    largest: float | None
    pairs: int
    right_signs: int


@dataclass(frozen=True, slots=True)
class UnlabeledSet:
    """The predictions of the arms on a set of images without labels.

    Attributes:
        size: The number of images.
        estimates: The estimated accuracy in percent, by the name of the estimator and the arm.
        class_shares: The share of images that an arm predicts to be of each class, by arm and class, mean over
            seeds.
        differing: The share of images on which the first seeds of an arm and its reference predict two classes, by arm.
    """

    name: str
    size: int
    estimates: Mapping[str, Mapping[str, float]]
    class_shares: Mapping[str, tuple[float, ...]]
    differing: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Unlabeled:
    """Everything that a study can say about images without labels."""

    sets: tuple[UnlabeledSet, ...] = ()
    estimators: tuple[EstimatorErrors, ...] = ()
