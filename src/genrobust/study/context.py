"""The context that all steps of a study share: the recipe, its images, and where it runs, writes and logs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genrobust.core import MEAN_OF_SHIFTS, ImageSet, StudyData, UserError, device_kind
from genrobust.data import load_data, with_derived
from genrobust.generate import class_texts
from genrobust.recipe import Recipe, idle_keys, recipe_yaml
from genrobust.robustness import METRICS, find_metric
from genrobust.store import address, local_folder
from genrobust.study.census import Census
from genrobust.study.executors.executor import Executor
from genrobust.study.removals import Notice, Rules, remove_images
from genrobust.study.stage_times import StageTimes
from genrobust.study.tracking import Tracking

if TYPE_CHECKING:
    from genrobust.classifiers import Initial


@dataclass(frozen=True)
class LoadedImages:
    """The images of a study after all removals.

    Attributes:
        data: The images that are left.
        notices: Each removal, each image that cannot be read, and each key without effect, in one sentence.
        rules: The rules of the removals.
    """

    data: StudyData
    notices: list[Notice]
    rules: Rules


@dataclass
class Context:
    """The recipe, the folder `out`, the executor and the log of a study, shared by its steps.

    It is pickled as its recipe and the address of its folder: a worker process loads the images itself, works alone and
    logs nothing.
    """

    recipe: Recipe
    out: Path
    executor: Executor = field(default_factory=Executor)
    log: Callable[[str], None] = lambda line: None

    def __post_init__(self) -> None:
        self.times = StageTimes()
        self.census = Census(self.out)
        track = self.out / "track" / self.recipe.name if self.recipe.track else None
        self.tracking = Tracking(track, recipe_yaml(self.recipe))
        # The networks that trainings start from, each opened once, by the setting that names one.
        self.initial_networks: dict[str, Initial] = {}
        self._loaded: LoadedImages | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _open_in_worker, (self.recipe, address(self.out))

    def load_images(self) -> LoadedImages:
        """Load the images of the study and remove copies, leaks and broken images; only once.

        The shifted validation set is among the test sets only if the recipe names it there.
        """
        if self._loaded is None:
            data = load_data(self.recipe.data)
            rules = Rules.of(self.recipe, self.census, data)
            _check_names(self.recipe, data)
            data, notices = remove_images(data, rules)
            self._loaded = LoadedImages(data, [*idle_keys(self.recipe), *notices], rules)
        return self._loaded

    @property
    def data(self) -> StudyData:
        """The images of the study, loaded by the first use."""
        return self.load_images().data

    @property
    def notices(self) -> list[Notice]:
        """Each problem with the images of the study, such as copies, in one sentence."""
        return self.load_images().notices

    def near_copies(self, images: ImageSet, tests: Mapping[str, ImageSet]) -> np.ndarray | None:
        """Find near copies as `Census.near_copies` does; None if the recipe does not look for them."""
        return self.load_images().rules.find_near_copies(images, tests)

    @property
    def own_tests(self) -> dict[str, ImageSet]:
        """The test sets with images of their own, which are not made from other sets."""
        return {name: images for name, images in self.data.tests.items() if name not in self.data.derived}

    @cached_property
    def tests(self) -> list[str]:
        """The names of the test sets that are scored, the clean one first."""
        return _scored_tests(self.recipe, self.data)

    @property
    def shifts(self) -> list[str]:
        """The names of the scored test sets without the clean one."""
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
        """The recipe's prompts of each class, by which a CLIP knows it."""
        return class_texts(self.recipe.class_prompts, self.data.labels)


def _open_in_worker(recipe: Recipe, out: Path | str) -> Context:
    return Context(recipe, local_folder(out))


def _scored_tests(recipe: Recipe, data: StudyData) -> list[str]:
    """Return the names of the test sets of `data` that `recipe` scores, the clean one first."""
    chosen = recipe.evaluate.tests
    return [name for name in data.tests if chosen is None or name in (data.clean, *chosen)]


def _check_names(recipe: Recipe, data: StudyData) -> None:
    """Check that the sets and metrics that `recipe` names are there, before any image is read."""
    data = with_derived(data, recipe.data)
    own_val = data.shifted_val
    if own_val is not None and own_val.name in (recipe.evaluate.tests or ()):
        data = replace(data, tests={**data.tests, own_val.name: own_val})
    if recipe.data.retrieved.limit is not None and data.retrieval is None:
        raise UserError("data.retrieved.limit: there are no labeled images to retrieve: name data.retrieved.path")
    if MEAN_OF_SHIFTS in data.tests:
        raise UserError(f"data.shifts: {MEAN_OF_SHIFTS!r} is what reports call the mean over all: rename this test set")
    may_be_chosen = [*data.tests] if own_val is None else [*data.tests, own_val.name]
    for name in data.unlabeled:
        if name in may_be_chosen:
            raise UserError(f"data.unlabeled: a test set is called {name!r}: rename these images")
    _require_sets("evaluate.tests", recipe.evaluate.tests or (), may_be_chosen)
    _require_sets("evaluate.beside", recipe.evaluate.beside, [*data.tests])
    if data.clean in recipe.evaluate.beside:
        raise UserError(f"evaluate.beside: {data.clean!r} is not shifted, so it is in no mean over shifts: remove it")
    if recipe.tune is not None:
        _require_sets("tune.choose_by", recipe.tune.choose_by, may_be_chosen)
    METRICS.require_unique()
    scored = _scored_tests(recipe, data)
    for i, claim in enumerate(recipe.claims):
        try:
            find_metric(claim.metric)
        except UserError as error:
            raise UserError(f"claims.{i}.metric: {error}") from None
        if claim.test_set not in (MEAN_OF_SHIFTS, *scored):
            raise UserError(
                f"claims.{i}.test_set: no test set {claim.test_set!r} is scored; there are "
                f"{', '.join(scored)}, and {MEAN_OF_SHIFTS!r}"
            )


def _require_sets(key: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Raise UserError if the `key` of a recipe names a test set that is not `known`."""
    for name in names:
        if name not in known:
            raise UserError(f"{key}: no test set {name!r}; there are {', '.join(dict.fromkeys(known))}")
