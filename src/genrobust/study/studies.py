"""The studies in one folder. Commands name them, their arms and datasets: RECIPE, RECIPE:ARM, RECIPE:DATASET."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from genrobust.core import UserError, slug
from genrobust.recipe import Recipe, load_recipe
from genrobust.report import RESULTS
from genrobust.study.batch import in_order, run_steps
from genrobust.study.executors.executor import Executor
from genrobust.study.finished_runs import finished_runs
from genrobust.study.steps.filter import Filter
from genrobust.study.steps.generate import Generate
from genrobust.study.steps.step import Step
from genrobust.study.study import Study
from genrobust.study.training_runs import recipe_and_name
from genrobust.study.work_list import Row, list_rows


class Studies:
    """Opens the studies of recipes. Each is opened once.

    Args:
        out: The output folder of the studies, or its URL.
        say: Called with a line of text when work begins.
        overrides: ``key=value`` texts for every recipe, as for `load_recipe`.
        quick: Use the short version of every recipe.
        device: The device that computes. None for the device of each recipe.
        allow: Called with the missing jobs before the first one runs. It raises an error to stop the command. If the
            newest finished run of the recipe, with more options, has made the work, that run is used. By default,
            missing jobs run.
    """

    def __init__(
        self,
        out: Path | str,
        say: Callable[[str], None] = lambda line: None,
        overrides: Sequence[str] = (),
        quick: bool = False,
        device: str | None = None,
        allow: Callable[[Sequence[Row]], None] | None = None,
    ) -> None:
        self.out = out
        self.say = say
        self.quick = quick
        self.overrides = [*overrides, *([f"device={device}"] if device else [])]
        self._varies = bool(overrides) or quick
        self._allow = allow
        self._opened: dict[str, Study] = {}

    def recipe(self, name: str) -> Recipe:
        """Return the recipe of an opened study, or load it with the overrides."""
        if name in self._opened:
            return self._opened[name].recipe
        return self._load(name)

    def _load(self, name: str) -> Recipe:
        return load_recipe(name, self.overrides, self.quick)

    def open(self, name: str, command: str = "", executor: Callable[[Recipe], Executor] | None = None) -> Study:
        """Open the study of a recipe, by default with the executor of the recipe. Its device is in names of folders.

        Raises:
            UserError: As for `load_recipe`, `ExecutorConfig.open` and `Study`.
        """
        if name not in self._opened:
            recipe = self._load(name)
            opened = None if executor is None else executor(recipe)
            self._opened[name] = Study(recipe, self.out, command, self.say, opened)
        return self._opened[name]

    def require_recipe(self, *specs: str | None) -> None:
        """Raise UserError if options vary a recipe and none of `specs` names one."""
        named = [spec for spec in specs if spec]
        if self._varies and not any(recipe_and_name(spec)[0] for spec in named):
            raise UserError(f"--set and --quick vary a recipe, and {' '.join(named)} names none: write RECIPE:NAME")

    def make(self, steps: Iterable[Step | None]) -> None:
        """Make everything that is missing of `steps` and of the steps that they need, if `allow` permits."""
        ordered = in_order(step for step in steps if step is not None)
        missing = [row for row in list_rows(ordered) if row.left]
        if missing and self._allow is not None:
            self._allow(missing)
        run_steps(ordered)

    def _make_named(self, recipe: str, step_of: Callable[[Study], Step]) -> Path:
        """Return the folder of a step of a recipe's study, made if `allow` permits.

        If the step is missing, open the newest finished run that has made it, and use this study from now on.
        """
        step = step_of(self.open(recipe))
        if self._allow is not None and not _is_made(step):
            step = self._find_finished(recipe, step_of) or step
        self.make([step])
        assert step.folder is not None
        return step.folder

    def _find_finished(self, recipe: str, step_of: Callable[[Study], Step]) -> Step | None:
        """Find the step in the newest finished run of the recipe with the options of these studies and more."""
        for run in finished_runs(self.out):
            if not run.varies(recipe, self.quick, self.overrides):
                continue
            studies = Studies(self.out, overrides=run.overrides, quick=run.quick)
            try:
                step = step_of(studies.open(recipe))
                is_made = _is_made(step)
            except UserError:
                # The recipe has changed since that run.
                continue
            if is_made:
                self.say(f"using {run.describe()}: other jobs of {recipe} are missing, and --run makes them")
                self._opened[recipe] = studies.open(recipe)
                return step
        return None

    def _named(self, spec: str) -> tuple[Study, str] | None:
        """Open the study that ``RECIPE`` or ``RECIPE:NAME`` names. Returns it and NAME, or None for another spec."""
        recipe, name = recipe_and_name(spec)
        return (self.open(recipe), name) if recipe else None

    def dataset(self, spec: str) -> Generate | None:
        """Return the dataset that ``RECIPE:DATASET`` names. None if `spec` names no recipe.

        Raises:
            UserError: A recipe without a dataset, or an unknown dataset.
        """
        named = self._named(spec)
        if named is None:
            return None
        study, name = named
        if not name:
            names = ", ".join(study.recipe.dataset_names)
            raise UserError(f"{spec} is a recipe: write {spec}:DATASET, one of {names}")
        return study.dataset(name)

    def folder(self, spec: str) -> Path | None:
        """Return the folder of the images of ``RECIPE:DATASET``, generated if allowed. None if `spec` names no recipe.

        Raises:
            UserError: A recipe without a dataset, an unknown dataset, or missing images that may not be generated.
        """
        dataset = self.dataset(spec)
        if dataset is None:
            return None
        recipe, name = recipe_and_name(spec)
        return self._make_named(recipe, lambda study: study.dataset(name))

    def filter_of(self, spec: str) -> Path | None:
        """Return the folder of the filter of ``RECIPE:DATASET``, made if allowed.

        None if the dataset has no filter, or if `spec` names no recipe or no dataset.

        Raises:
            UserError: A missing filter that may not be made.
        """
        named = self._named(spec)
        if named is None:
            return None
        study, name = named
        if study.recipe.filter_of(name) is None:
            return None

        def filter_step(study: Study) -> Step:
            filtered = study.plan.images(name)
            if not isinstance(filtered, Filter):
                # A finished run may have set it to null.
                raise UserError(f"{spec} has no filter")
            return filtered

        recipe, _ = recipe_and_name(spec)
        return self._make_named(recipe, filter_step)

    def results(self, spec: str) -> Path | None:
        """Return the results.json of the study that ``RECIPE:ARM`` names. None if there is none."""
        named = self._named(spec)
        if named is None:
            return None
        study, _ = named
        return study.find_report(RESULTS)

    def label(self, spec: str) -> str:
        """Return a name for files about `spec`. For ``RECIPE:NAME``, whose folder has a hash, the study is in it."""
        recipe, name = recipe_and_name(spec)
        if recipe:
            return slug(f"{self._load(recipe).name} {name}")
        return Path(spec).resolve().name

    def checkpoint(self, spec: str) -> Path | None:
        """Return the checkpoint of the first seed of ``RECIPE:ARM``, trained if allowed. None for another spec.

        Raises:
            UserError: A recipe without an arm, an unknown arm, or a missing checkpoint that may not be trained.
        """
        named = self._named(spec)
        if named is None:
            return None
        study, name = named
        if not name:
            names = ", ".join(study.recipe.arm_names)
            recipe, _ = recipe_and_name(spec)
            raise UserError(f"{recipe} is a recipe of several classifiers: write {recipe}:ARM, one of {names}")
        recipe, _ = recipe_and_name(spec)
        return self._make_named(recipe, lambda study: study.plan.arm(name))


def _is_made(step: Step) -> bool:
    return not any(row.left for row in list_rows(in_order([step])))
