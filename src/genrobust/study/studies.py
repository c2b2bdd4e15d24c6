"""The studies of one folder, and what commands name of them: RECIPE, RECIPE:ARM and RECIPE:DATASET."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from genrobust.core import UserError, slug
from genrobust.recipe import Recipe, load_recipe
from genrobust.study.batch import in_order, run_steps
from genrobust.study.executors.this_process import Local
from genrobust.study.steps.filter import Filter
from genrobust.study.steps.generate import Generate
from genrobust.study.steps.step import Step
from genrobust.study.study import Study
from genrobust.study.training_runs import recipe_and_name
from genrobust.study.work_list import Row, list_rows


class Studies:
    """Opens the studies of recipes in the folder `out`, each once.

    Args:
        out: The output folder of the studies, or its URL.
        say: Called with a line of text when something begins.
        overrides: ``key=value`` texts, as for `load_recipe`, of every recipe.
        quick: Take the short version of every recipe.
        device: Where to compute; None for the device of each recipe.
        allow: Called with the missing jobs of what a command named, before the first runs. It raises an error to stop
            the command; by default, missing jobs run.
    """

    def __init__(
        self,
        out: Path | str,
        say: Callable[[str], None] = lambda line: None,
        overrides: Sequence[str] = (),
        quick: bool = False,
        device: str | None = None,
        allow: Callable[[Sequence[Row]], None] = lambda missing: None,
    ) -> None:
        self.out, self.say, self.quick = out, say, quick
        self.overrides = [*overrides, *([f"device={device}"] if device else [])]
        self._varies = bool(overrides) or quick
        self._allow = allow
        self._opened: dict[str, Study] = {}

    def recipe(self, name: str) -> Recipe:
        """Load a recipe, with the overrides."""
        return load_recipe(name, self.overrides, self.quick)

    def open(self, name: str, command: str = "", executor: Callable[[Recipe], Local] | None = None) -> Study:
        """Open the study of a recipe; by default with the recipe's executor, whose device is in the names of folders.

        Raises:
            UserError: As for `load_recipe`, `ExecutorConfig.open` and `Study`.
        """
        if name not in self._opened:
            recipe = self.recipe(name)
            opened = None if executor is None else executor(recipe)
            self._opened[name] = Study(recipe, self.out, command, self.say, opened)
        return self._opened[name]

    def require_recipe(self, *specs: str | None) -> None:
        """Raise UserError where recipes are to be varied and none of `specs` names one."""
        if self._varies and not any(recipe_and_name(spec)[0] for spec in specs if spec):
            named = " ".join(spec for spec in specs if spec)
            raise UserError(f"--set and --quick vary a recipe, and {named} names none: write RECIPE:NAME")

    def make(self, steps: Iterable[Step | None]) -> None:
        """Make what is missing of `steps`, and of all that these need, if that is allowed."""
        ordered = in_order(step for step in steps if step is not None)
        missing = [row for row in list_rows(ordered) if row.left]
        if missing:
            self._allow(missing)
        run_steps(ordered)

    def _named(self, spec: str) -> tuple[Study, str] | None:
        """The study that ``RECIPE`` or ``RECIPE:NAME`` names, with the name, perhaps ""; None for what is no recipe."""
        recipe, name = recipe_and_name(spec)
        return (self.open(recipe), name) if recipe else None

    def dataset(self, spec: str) -> Generate | None:
        """Return the dataset that ``RECIPE:DATASET`` names; None for what names no recipe.

        Raises:
            UserError: A recipe without a dataset, or an unknown dataset.
        """
        if (named := self._named(spec)) is None:
            return None
        study, name = named
        if not name:
            names = ", ".join(study.recipe.dataset_names)
            raise UserError(f"{spec} is a recipe: write {spec}:DATASET, one of {names}")
        return study.dataset(name)

    def folder(self, spec: str) -> Path | None:
        """Return the folder of the images of ``RECIPE:DATASET``, generated if allowed; None for what is no recipe.

        Raises:
            UserError: A recipe without a dataset, an unknown dataset, or missing images that may not be generated.
        """
        if (dataset := self.dataset(spec)) is None:
            return None
        self.make([dataset])
        return dataset.folder

    def filter_of(self, spec: str) -> Path | None:
        """Return the filter that the recipe has for ``RECIPE:DATASET``, made if allowed; None where it has none.

        Raises:
            UserError: A missing filter that may not be made.
        """
        if (named := self._named(spec)) is None or named[0].recipe.filter_of(named[1]) is None:
            return None
        filtered = named[0].plan.images(named[1])
        # The recipe has a filter for it.
        assert isinstance(filtered, Filter)
        self.make([filtered])
        return filtered.folder

    def results(self, spec: str) -> Path | None:
        """Return the results.json of the study that ``RECIPE:ARM`` names; None where it has none, or for no recipe."""
        if (named := self._named(spec)) is None:
            return None
        return named[0].find_report("results.json")

    def label(self, spec: str) -> str:
        """Return what is written of `spec` is called: after the study for ``RECIPE:NAME``, else the folder's name."""
        recipe, name = recipe_and_name(spec)
        # The folder of what a study makes is named by a hash.
        return slug(f"{self.recipe(recipe).name} {name}") if recipe else Path(spec).resolve().name

    def checkpoint(self, spec: str) -> Path | None:
        """Return the checkpoint of the first seed of ``RECIPE:ARM``, trained if allowed; None for what is no recipe.

        Raises:
            UserError: A recipe without an arm, an unknown arm, or a missing checkpoint that may not be trained.
        """
        if (named := self._named(spec)) is None:
            return None
        study, name = named
        if not name:
            names = ", ".join(study.recipe.arm_names)
            raise UserError(f"{spec} is a recipe of several classifiers: write {spec}:ARM, one of {names}")
        classifier = study.plan.arm(name)
        self.make([classifier])
        return classifier.folder
