"""A study: its steps for arms x seeds, made in their order up to the report, or made in part."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from genrobust.classifiers import SavedPredictions, hash_clip
from genrobust.core import ImageSet, StudyData, Summary, UserError, find_clip, warn_of_plugins
from genrobust.data import ShardDataset, require_outside
from genrobust.recipe import GENERATED, ArmConfig, Recipe, check_recipe
from genrobust.report import SECTIONS, ReportView, report_inputs, write_report
from genrobust.store import Artifact, artifact_folder, link, local_folder
from genrobust.study.batch import in_order, run_steps
from genrobust.study.context import Context
from genrobust.study.executors.executor import Executor, open_executor
from genrobust.study.plan import StudyPlan
from genrobust.study.provenance import Makers, describe_others, makers_of
from genrobust.study.results.record import record_of
from genrobust.study.results.scoring import StudyScores, check_baselines, score_study
from genrobust.study.steps.generate import Generate
from genrobust.study.steps.predict import open_predictions
from genrobust.study.steps.seen import describe_starts_seen
from genrobust.study.training_runs import TrainingRun, run_of
from genrobust.study.work_list import Row, list_rows


class Study:
    """The study of `recipe`. Everything that it makes is in the folder `out`.

    Arms and recipes that ask for the same work share its folder, so nothing is done twice. A killed study resumes where
    it was.

    Args:
        out: A folder, or the URL of one. Then `Study.out` is the copy on this machine.
        command: The command that runs the study, for the report; by default, one that runs the recipe in the report.
        say: Called with a line of text when something begins.
        executor: Runs the work. By default it is the one that the section `execute` of the recipe names.

    Raises:
        UserError: The recipe contradicts itself; it mixes generated images but names neither a generator nor such
            images; its device is not available; `out` is a file, or is among the images that it reads; or `out` is a
            URL without bucket or credentials, or one that cannot be written to.
        GenrobustError: The file system of `out` does not answer.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path | str,
        command: str = "",
        say: Callable[[str], None] = lambda line: None,
        executor: Executor | None = None,
    ) -> None:
        warn_of_plugins()
        # A recipe that was built in Python, not loaded, has only its keys checked.
        check_recipe(recipe)
        folder = local_folder(out)
        require_outside(recipe.data.places, (folder, folder / recipe.name))
        if folder.is_file():
            raise UserError(f"the output folder {folder} is a file: choose another name")
        if GENERATED in recipe.sources() and recipe.generator is None and recipe.data.generated is None:
            raise UserError("an arm mixes generated images, but the recipe has neither a generator nor data.generated")
        if executor is None:
            executor = open_executor(recipe, folder)
        self.context = Context(executor.placed(recipe, say), folder, executor, say)
        self.recipe = self.context.recipe
        self.out = folder
        default_command = shlex.join(["genrobust", "run", f"{recipe.name}.yaml"])
        self.command = command or f"{default_command}  # the recipe below, saved under this name"
        self.plan = StudyPlan(self.context)

    def __repr__(self) -> str:
        arms = len(self.recipe.arms)
        seeds = len(self.recipe.seeds)
        return f"Study(name={self.recipe.name!r}, {arms=}, {seeds=}, out={str(self.out)!r})"

    def run(self) -> tuple[Summary, dict[str, Path]]:
        """Run the whole study to its report. Returns the summary and the written files, by kind.

        Raises:
            UserError: Other versions of genrobust or its libraries began something that is not finished.
            GenrobustError: A step fails.
        """
        self.make()
        view, files = self.write_report()
        return view.summary, files

    def make(self) -> None:
        """Load images and remove leaks, then make everything but the report: generate, train, predict and so on.

        Raises:
            UserError: As for `run`.
            GenrobustError: A step fails.
        """
        self.context.load_images()
        for line in describe_others(self.makers()):
            self.context.log(f"reused: {line}")
        SECTIONS.require_unique()
        self.plan.require_trainable(self.plan.runs)
        for note in self.check():
            self.context.log(note)
        run_steps(self.plan.steps())

    def write_report(self) -> tuple[ReportView, dict[str, Path]]:
        """Score the study and write its report. Returns the content and the written files, by kind."""
        scores = self.scores()
        self.context.log("writing the report")
        view = ReportView(record_of(self.plan, scores, self.command, self.makers()))
        files = write_report(view, self.report_folder, self._report_inputs)
        link(self.out / self.recipe.name, self.report_folder)
        note = self.describe_report_copy()
        if note:
            self.context.log(note)
        return view, files

    @property
    def data(self) -> StudyData:
        """The images of the study.

        Raises:
            UserError: The recipe names test sets that the data lacks.
        """
        return self.context.data

    def notices(self) -> list[str]:
        """Return each problem with the images: copies, unreadable images, and test images that networks learned.

        Raises:
            UserError: An image cannot be read.
        """
        return [*map(str, self.context.notices), *describe_starts_seen(self.context)]

    def check(self) -> list[str]:
        """Find mistakes in the recipe that would stop the report after all training.

        Returns:
            Notes on shifts without a baseline line, and on doubtful mixtures.

        Raises:
            UserError: The table of baselines cannot be read, or no line can be fitted to it.
        """
        return [*check_baselines(self.context), *self.plan.doubts()]

    @property
    def tests(self) -> list[str]:
        """The test sets that are scored, the clean one first."""
        return self.context.tests

    def rows(self) -> list[Row]:
        """List all work of the study, done or not, in its order."""
        return list_rows(self.plan.steps())

    def dataset(self, name: str) -> Generate:
        """Return the step that generates the dataset `name`, whether an arm mixes it or not.

        Raises:
            UserError: The name is unknown, or these images are the user's own.
        """
        return self.plan.dataset(name)

    def generate(self, name: str) -> ShardDataset:
        """Generate what is missing of the dataset `name`.

        Raises:
            UserError: As for `dataset`; the generator cannot be found, or the folder holds another
                dataset, is in use, or cannot be written.
            GenrobustError: A completed shard is damaged.
        """
        dataset = self.dataset(name)
        run_steps(in_order([dataset]))
        return dataset.open_made()

    def images(self, source: str) -> ImageSet:
        """Return the images that arms mix under the name `source` (see `MixturePart`); missing ones are made now."""
        step = self.plan.images(source)
        run_steps(in_order([step]))
        return step.open()

    def runs(self, arm: str | None = None) -> list[TrainingRun]:
        """Return the classifiers that are trained: of one arm, or of all arms and then of the baseline line."""
        if arm is None:
            return self.plan.runs
        return [run for run in self.plan.runs if run.of == arm and not run.baseline]

    def train(self, runs: Sequence[TrainingRun]) -> list[Path]:
        """Return the checkpoints of `runs`, folders; missing ones are trained now."""
        self.plan.require_trainable(runs)
        run_steps(in_order(self.plan.train(runs)))
        return [self.plan.classifier(run).folder for run in runs]

    def checkpoint(self, arm: ArmConfig, seed: int) -> Path:
        """Return the trained classifier of one arm and seed: a folder."""
        return self.train([run_of(self.recipe, arm, seed)])[0]

    def predictions(self, runs: Sequence[TrainingRun]) -> list[SavedPredictions[str]]:
        """Return the predictions of `runs` by test set; missing ones are made now."""
        steps = self.plan.predict(runs)
        run_steps(in_order(steps))
        return open_predictions(steps)

    def scores(self) -> StudyScores:
        """Return everything that the study measured, its baselines, and notes on shifts without a line."""
        return score_study(self.plan)

    def makers(self) -> list[Makers]:
        """Return which versions made the finished artifacts of the study."""
        return makers_of(folder for step in self.plan.steps() for folder in step.artifacts())

    @property
    def report_folder(self) -> Path:
        """The folder of the report, named after everything that it shows. A link with the study's name leads to it."""
        return artifact_folder(self.out, self.recipe.name, self._report_inputs)

    def describe_report_copy(self) -> str:
        """Describe a copy at the path of the link to the newest report; "" if it is a link or free.

        A copy that follows links makes a folder of the link.
        """
        path = self.out / self.recipe.name
        if path.is_symlink() or not path.exists():
            return ""
        return (
            f"{path} is no link to the newest report, and may hold an older one. The newest is in "
            f"{self.report_folder}: move {path} away, and the next run makes the link"
        )

    def has_other_images(self, report: Path) -> bool:
        """Return whether the run of the folder `report` had the same recipe, and other test images."""
        artifact = Artifact(report)
        if not artifact.is_finished:
            return False
        inputs = artifact.manifest().inputs
        own = self._report_inputs
        return inputs.get("recipe") == own["recipe"] and inputs.get("tests") != own["tests"]

    def find_report(self, name: str) -> Path | None:
        """Return the file `name` of the report; None if it was not written."""
        report = Artifact(self.report_folder).fetch()
        if report.is_finished:
            report.fetch_files([name])
        path = report.folder / name
        return path if path.is_file() else None

    @cached_property
    def _report_inputs(self) -> dict[str, Any]:
        runs = [*self.plan.runs, *self.plan.points]
        inputs = [self.plan.classifier(run).folder.name for run in runs]
        for config in (self.recipe.zero_shot, self.recipe.quality):
            if config is not None:
                inputs.append(hash_clip(find_clip(config.clip)))
        tests = {name: self.data.tests[name].fingerprint for name in self.tests}
        return report_inputs(self.recipe, inputs, tests)
