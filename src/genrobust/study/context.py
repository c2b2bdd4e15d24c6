"""The context that every stage of a study needs beside its own inputs: where it runs, writes and logs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from genrobust.core import (
    MEAN_OF_SHIFTS,
    ImageSet,
    StudyData,
    Subset,
    UserError,
    address,
    device_kind,
    fair_order,
    local_folder,
)
from genrobust.data import Broken, load_data, with_derived, withhold, without_broken
from genrobust.generate import class_texts
from genrobust.leaks import (
    Copies,
    apart_from_tests,
    describe_same_names,
    without_copies,
    without_leaks,
    without_withheld,
)
from genrobust.recipe import Recipe, recipe_yaml
from genrobust.robustness import METRICS, find_metric
from genrobust.study.census import Census
from genrobust.study.estimates import StageTimes
from genrobust.study.executors.local import Local
from genrobust.study.tracking import Tracking

NEAR_COPIES_UP_TO = 300_000  # images of all sets together, which take 5 minutes on a core


class Rebuilt:
    """Pickled as the arguments of its constructor, which are attributes: a worker computes everything else itself."""

    _not_pickled: ClassVar[Collection[str]] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        names = [name for name in inspect.signature(type(self)).parameters if name not in self._not_pickled]
        return type(self), tuple(getattr(self, name) for name in names)


@dataclass
class Context:
    """The recipe, the folder `out`, the executor and the log of a study, shared by its stages.

    Pickled, it is its recipe and the address of its folder: a worker process opens the rest anew, works by itself and
    logs nothing.
    """

    recipe: Recipe
    out: Path
    executor: Local = field(default_factory=Local)
    log: Callable[[str], None] = lambda line: None

    def __post_init__(self) -> None:
        self.times, self.census = StageTimes(), Census(self.out)
        track = self.out / "track" / self.recipe.name if self.recipe.track else None
        self.tracking = Tracking(track, recipe_yaml(self.recipe))

    def __reduce__(self) -> tuple[Any, ...]:
        return _in_worker, (self.recipe, address(self.out))

    @cached_property
    def data(self) -> StudyData:
        """The images of the study: what is learned from without copies of test images, the test sets without copies.

        The images to choose by are a test set only where the recipe names them, as the second in-distribution set or
        among the tests.

        Raises:
            UserError: The recipe names test sets that the data lacks, or styles or keys that no image to retrieve has;
                a set holds copies alone; an image cannot be read.
        """
        return self._data_and_notices[0]

    @property
    def notices(self) -> list[Copies | Broken | str]:
        """What is wrong with the images of the study: copies, and images that cannot be read; a sentence each."""
        return self._data_and_notices[1]

    @property
    def own_tests(self) -> dict[str, ImageSet]:
        """The test sets with images of their own, which are not made from other sets."""
        return {name: images for name, images in self.data.tests.items() if name not in self.data.derived}

    @cached_property
    def _data_and_notices(self) -> tuple[StudyData, list[Copies | Broken | str]]:
        """The images, and what is wrong with them: in what is learned from no copy of a test image is left."""
        recipe, data = self.recipe, self._loaded
        notices: list[Copies | Broken | str] = [*data.notices]
        contents, retrieved = self.census.contents, recipe.data.retrieved
        if recipe.data.broken == "skip":
            data, broken = without_broken(data, self.census.broken)
            notices += broken
        if not self._looks_for_near_copies and recipe.data.near_copies == "auto":
            notices.append(
                f"near copies of test images are not looked for among {_count(data):,} images, which takes minutes: "
                "set data.near_copies to leave-out, or to keep"
            )
        chosen_by, scored = () if recipe.tune is None else recipe.tune.choose_by, recipe.evaluate.tests or ()
        data, leaks = without_leaks(data, contents, self.near_copies, chosen_by, {*scored})
        data, apart = apart_from_tests(data, recipe.data.groups_apart, {*chosen_by, *scored})
        if recipe.data.groups_apart is None and recipe.data.together is None:
            apart = [describe_same_names(images, data.tests) for images in data.learned.values()]
        if retrieved.limit is not None and data.retrieval is not None:
            kept = np.sort(fair_order(data.retrieval)[: retrieved.limit])
            data = replace(data, retrieval=Subset(data.retrieval, kept))
        data = without_withheld(withhold(data, retrieved.without), contents)
        if data.shifted_val is not None and data.shifted_val.name in scored:
            data = replace(data, tests={**data.tests, data.shifted_val.name: data.shifted_val})
        data, copies = without_copies(data, contents, recipe.evaluate.beside)
        data = with_derived(data, recipe.data)
        _check_names(recipe, data)
        return data, [*notices, *leaks, *filter(None, apart), *copies]

    @cached_property
    def _loaded(self) -> StudyData:
        """The images of the source."""
        return load_data(self.recipe.data)

    def near_copies(self, images: ImageSet, tests: Mapping[str, ImageSet]) -> np.ndarray | None:
        """As `Census.near_copies`; None where the recipe does not ask for them."""
        return self.census.near_copies(images, tests) if self._looks_for_near_copies else None

    @property
    def _looks_for_near_copies(self) -> bool:
        given = self.recipe.data.near_copies
        return given == "leave-out" or (given == "auto" and _count(self._loaded) <= NEAR_COPIES_UP_TO)

    @cached_property
    def tests(self) -> list[str]:
        """The names of the test sets that are scored, the clean one first, also where the recipe chooses among them."""
        return _scored_tests(self.recipe, self.data)

    @property
    def shifts(self) -> list[str]:
        """The names of those beside the clean one."""
        return [name for name in self.tests if name != self.data.clean]

    @property
    def test_sets(self) -> dict[str, ImageSet]:
        """The test sets that are scored, by name."""
        return {name: self.data.tests[name] for name in self.tests}

    @cached_property
    def device(self) -> str:
        """The kind of device: "cuda", "mps" or "cpu"."""
        return device_kind(self.recipe.device)

    def count_by_class(self, images: ImageSet) -> np.ndarray:
        """Count `images` by class, int [K]."""
        return np.bincount(images.labels, minlength=len(self.data.labels))

    @cached_property
    def class_texts(self) -> list[list[str]]:
        """The recipe's prompts of each class: what a CLIP knows it by."""
        return class_texts(self.recipe.class_prompts, self.data.labels)


def _scored_tests(recipe: Recipe, data: StudyData) -> list[str]:
    """Return the names of the test sets of `data` that `recipe` scores, the clean one first."""
    chosen = recipe.evaluate.tests
    return [name for name in data.tests if chosen is None or name in (data.clean, *chosen)]


def _count(data: StudyData) -> int:
    return sum(map(len, {**data.learned, **data.tests}.values()))


def _in_worker(recipe: Recipe, out: Path | str) -> Context:
    return Context(recipe, local_folder(out))


def _check_names(recipe: Recipe, data: StudyData) -> None:
    """Raise UserError, naming the key, for a test set that the data lacks, and for an unknown metric."""
    if MEAN_OF_SHIFTS in data.tests:
        raise UserError(f"data.shifts: {MEAN_OF_SHIFTS!r} is what reports call the mean over all: rename this test set")
    val = [] if data.shifted_val is None else [data.shifted_val.name]
    named = {"tests": (recipe.evaluate.tests or (), val), "beside": (recipe.evaluate.beside, [])}
    for key, (tests, more) in named.items():
        if unknown := [test for test in tests if test not in data.tests]:
            there = ", ".join(dict.fromkeys([*data.tests, *more]))
            raise UserError(f"evaluate.{key}: no test set {unknown[0]!r}; there are {there}")
    METRICS.require_unique()
    for i, claim in enumerate(recipe.claims):
        try:
            find_metric(claim.metric)
        except UserError as error:
            raise UserError(f"claims.{i}.metric: {error}") from None
        scored = _scored_tests(recipe, data)
        if claim.test_set not in (MEAN_OF_SHIFTS, *scored):
            raise UserError(
                f"claims.{i}.test_set: no test set {claim.test_set!r} is scored; there are "
                f"{', '.join(scored)}, and {MEAN_OF_SHIFTS!r}"
            )
