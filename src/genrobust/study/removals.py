"""Removes images that a study must not use: named functions, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from genrobust.core import ImageSet, StudyData, Subset, fair_order
from genrobust.data import Broken, with_derived, withhold, without_broken
from genrobust.leaks import (
    Copies,
    LabelConflict,
    apart_from_tests,
    describe_same_names,
    without_copies,
    without_labeled_images,
    without_leaks,
    without_withheld,
)
from genrobust.recipe import Recipe
from genrobust.study.census import Census

NEAR_COPIES_UP_TO = 300_000  # images of all sets together: 5 minutes on one core

Notice = Copies | LabelConflict | Broken | str


@dataclass(frozen=True)
class Rules:
    """The basis of all removals: the recipe, the known contents of images, and whether near copies are looked for."""

    recipe: Recipe
    census: Census
    near_copies: bool

    @classmethod
    def of(cls, recipe: Recipe, census: Census, data: StudyData) -> Rules:
        """Return the rules of `recipe` for the loaded images `data`."""
        choice = recipe.data.near_copies
        is_fast = _count(data) <= NEAR_COPIES_UP_TO
        return cls(recipe, census, choice == "leave-out" or (choice == "auto" and is_fast))

    @property
    def chosen_by(self) -> set[str]:
        """The test sets that choose something."""
        tune = self.recipe.tune
        return set() if tune is None else {*tune.choose_by}

    @property
    def scored(self) -> set[str]:
        """The test sets that the recipe names to be scored."""
        return {*(self.recipe.evaluate.tests or ())}

    def find_near_copies(self, images: ImageSet, tests: Mapping[str, ImageSet]) -> np.ndarray | None:
        """Find near copies as `Census.near_copies` does; None if they are not looked for."""
        if self.near_copies:
            return self.census.near_copies(images, tests)
        return None


Removed = tuple[StudyData, list[Notice]]


def remove_broken(data: StudyData, rules: Rules) -> Removed:
    """Remove images that cannot be read, if the recipe skips them."""
    if rules.recipe.data.broken != "skip":
        return data, []
    data, broken = without_broken(data, rules.census.broken)
    return data, [*broken]


def remove_leaks(data: StudyData, rules: Rules) -> Removed:
    """Remove copies of test images from everything that is learned from."""
    notices: list[Notice] = []
    if not rules.near_copies and rules.recipe.data.near_copies == "auto":
        notices.append(
            f"near copies of test images are not looked for among {_count(data):,} images, which takes minutes: "
            "set data.near_copies to leave-out, or to keep"
        )
    data, leaks = without_leaks(data, rules.census.contents, rules.find_near_copies, rules.chosen_by)
    return data, [*notices, *leaks]


def remove_known_from_unlabeled(data: StudyData, rules: Rules) -> Removed:
    """Remove copies of labeled images from the images without labels."""
    data, copies = without_labeled_images(data, rules.census.contents)
    return data, [*copies]


def remove_groups_of_tests(data: StudyData, rules: Rules) -> Removed:
    """Remove images whose group, such as a person or a place, is also in a test set."""
    config = rules.recipe.data
    data, notices = apart_from_tests(data, config.groups_apart)
    if config.groups_apart is None and config.together is None:
        notices = [describe_same_names(images, data.tests) for images in data.learned.values()]
    return data, [notice for notice in notices if notice]


def limit_retrieval(data: StudyData, rules: Rules) -> Removed:
    """Keep as many labeled images to retrieve as the recipe allows, a fair sample."""
    limit = rules.recipe.data.retrieved.limit
    if limit is None or data.retrieval is None:
        return data, []
    kept = np.sort(fair_order(data.retrieval)[:limit])
    return replace(data, retrieval=Subset(data.retrieval, kept)), []


def withhold_cells(data: StudyData, rules: Rules) -> Removed:
    """Withhold cells (a class in a style) from the images to retrieve, and their copies from the images to search."""
    data = withhold(data, rules.recipe.data.retrieved.without)
    return without_withheld(data, rules.census.contents), []


def add_shifted_validation(data: StudyData, rules: Rules) -> Removed:
    """Add the shifted validation set to the test sets, if the recipe scores it."""
    own = data.shifted_val
    if own is None or own.name not in rules.scored:
        return data, []
    return replace(data, tests={**data.tests, own.name: own}), []


def remove_repeated_tests(data: StudyData, rules: Rules) -> Removed:
    """Remove test images that are copies of images in the sets before."""
    data, copies = without_copies(data, rules.census.contents, rules.recipe.evaluate.beside)
    return data, [*copies]


def add_derived_tests(data: StudyData, rules: Rules) -> Removed:
    """Add the test sets that are made from other test sets, such as corrupted ones."""
    return with_derived(data, rules.recipe.data), []


REMOVALS: tuple[Callable[[StudyData, Rules], Removed], ...] = (
    remove_broken,
    remove_leaks,
    remove_known_from_unlabeled,
    remove_groups_of_tests,
    limit_retrieval,
    withhold_cells,
    add_shifted_validation,
    remove_repeated_tests,
    add_derived_tests,
)


def remove_images(data: StudyData, rules: Rules) -> Removed:
    """Apply all removals in their order; returns the images that are left, and all notices."""
    notices: list[Notice] = [*data.notices]
    for removal in REMOVALS:
        data, more = removal(data, rules)
        notices += more
    return data, notices


def _count(data: StudyData) -> int:
    return sum(map(len, {**data.learned, **data.tests}.values()))
