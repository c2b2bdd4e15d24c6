"""The studies of one folder, and what commands name of them: RECIPE, RECIPE:ARM and RECIPE:DATASET."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from genrobust.core import UserError, slug
from genrobust.recipe import GENERATED, Recipe, load_recipe
from genrobust.study.executors.local import Local
from genrobust.study.executors.processes import Processes
from genrobust.study.stages.generate import GeneratedDataset
from genrobust.study.stages.stage import Row, Stage, rows
from genrobust.study.stages.train import is_trained
from genrobust.study.study import Study
from genrobust.study.training_runs import recipe_and_name, run_of


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

    def open(self, name: str, command: str = "", executor: Callable[[Recipe], Local] = Processes) -> Study:
        """Open the study of a recipe."""
        if name not in self._opened:
            recipe = self.recipe(name)
            self._opened[name] = Study(recipe, self.out, command, self.say, executor(recipe))
        return self._opened[name]

    def require_recipe(self, *specs: str | None) -> None:
        """Raise UserError where recipes are to be varied and none of `specs` names one."""
        if self._varies and not any(recipe_and_name(spec)[0] for spec in specs if spec):
            named = " ".join(spec for spec in specs if spec)
            raise UserError(f"--set and --quick vary a recipe, and {named} names none: write RECIPE:NAME")

    def require_made(self, stages: Iterable[Stage | None]) -> None:
        """Ask whether the missing jobs of `stages`, and of all that these need, may run."""
        order = dict.fromkeys(stage for last in filter(None, stages) for stage in last.order())
        if missing := [row for row in rows(list(order)) if row.left]:
            self._allow(missing)

    def dataset(self, spec: str) -> GeneratedDataset | None:
        """Return the dataset that ``RECIPE:DATASET`` names; None for what names no recipe.

        Raises:
            UserError: A recipe without a dataset, or an unknown dataset.
        """
        recipe, name = recipe_and_name(spec)
        if not recipe:
            return None
        study = self.open(recipe)
        if not name:
            names = ", ".join([GENERATED, *study.recipe.datasets])
            raise UserError(f"{recipe} is a recipe: write {recipe}:DATASET, one of {names}")
        return study.dataset(name)

    def folder(self, spec: str) -> Path | None:
        """Return the folder of the images of ``RECIPE:DATASET``, generated if allowed; None for what is no recipe.

        Raises:
            UserError: A recipe without a dataset, an unknown dataset, or missing images that may not be generated.
        """
        dataset = self.dataset(spec)
        if dataset is None:
            return None
        stage = self.open(recipe_and_name(spec)[0]).graph.generate(dataset.name)
        self.require_made([stage])
        stage.run()
        return dataset.folder

    def filter_of(self, spec: str) -> Path | None:
        """Return the filter that the recipe has for ``RECIPE:DATASET``, made if allowed; None where it has none.

        Raises:
            UserError: A recipe without a dataset, an unknown dataset, a missing filter that may not be made, or one
                that the study does not make, since no arm mixes the dataset.
        """
        dataset = self.dataset(spec)
        rule = None if dataset is None else dataset.context.recipe.filter_of(dataset.name)
        if dataset is None or rule is None:
            return None
        graph = self.open(recipe_and_name(spec)[0]).graph
        if dataset.name not in graph.sources.datasets:
            raise UserError(f"{spec} has a filter, which no run makes, since no arm mixes it: name its folder")
        stages = graph.make(dataset.name)
        self.require_made(stages)
        for stage in stages:
            stage.run()
        return graph.sources.filter_folder(dataset.name, rule)

    def existing(self, spec: str) -> Path | None:
        """Return the folder of the images of ``RECIPE:DATASET``, if any is generated; None for what is no recipe.

        Raises:
            UserError: A recipe without a dataset, an unknown dataset, or one without a completed shard.
        """
        dataset = self.dataset(spec)
        if dataset is None:
            return None
        if not dataset.folder.exists():
            raise UserError(f"{spec} is not generated yet: there is no {dataset.folder}")
        return dataset.folder

    def checkpoints(self, spec: str) -> list[Path]:
        """Return the trained checkpoints of all seeds of ``RECIPE:ARM``; none for a dataset, or what is no recipe.

        Raises:
            UserError: No seed of the arm is trained.
        """
        recipe, name = recipe_and_name(spec)
        if not recipe:
            return []
        study = self.open(recipe)
        if name in (GENERATED, *study.recipe.datasets) or name not in study.recipe.arm_names:
            return []
        folders = [study.graph.sources.checkpoint(run) for run in study.runs(name)]
        if not (trained := [folder for folder in folders if is_trained(folder)]):
            raise UserError(f"{spec} is not trained yet: there is no {folders[0]}")
        return trained

    def results(self, spec: str) -> Path | None:
        """Return the results.json of the study that ``RECIPE:ARM`` names; None where it has none, or for no recipe."""
        recipe, _ = recipe_and_name(spec)
        if not recipe:
            return None
        study = self.open(recipe)
        path = study.out / study.recipe.name / "results.json"
        return path if path.is_file() else None

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
        recipe, name = recipe_and_name(spec)
        if not recipe:
            return None
        study = self.open(recipe)
        if not name:
            names = ", ".join(study.recipe.arm_names)
            raise UserError(f"{recipe} is a recipe of several classifiers: write {recipe}:ARM, one of {names}")
        run = run_of(study.recipe, study.recipe.arm(name), study.recipe.seeds[0])
        self.require_made([study.graph.train([run])])
        return study.train([run])[0]
