"""A study: its graph of stages for arms x seeds, run to the report, or asked for a part."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from genrobust.classifiers import SavedPredictions, hash_clip
from genrobust.core import (
    Artifact,
    ImageSet,
    StudyData,
    Summary,
    UserError,
    artifact_folder,
    find_clip,
    link,
    local_folder,
    warn_of_plugins,
)
from genrobust.data import ShardDataset, require_outside
from genrobust.recipe import GENERATED, ArmConfig, Recipe
from genrobust.report import SECTIONS, ReportView, report_inputs, write_report
from genrobust.study.context import Context
from genrobust.study.executors.local import Local, open_executor
from genrobust.study.graph import Graph
from genrobust.study.provenance import Makers, describe_others, makers_of
from genrobust.study.results.record import record_of
from genrobust.study.results.scoring import StudyScores, check_baselines, score_study
from genrobust.study.seen import describe_starts_seen
from genrobust.study.sources.dataset import GeneratedDataset
from genrobust.study.stages.stage import Row, rows
from genrobust.study.training_runs import TrainingRun, run_of


class Study:
    """The stages of `recipe`, with everything they make under `out`.

    Arms and recipes that ask for the same work share its folder, so nothing is done twice; a killed study resumes where
    it was.

    Args:
        out: A folder, or the URL of one; `Study.out` is then this machine's copy of what lies there.
        command: The command that runs it, for the report; by default, one that runs the recipe in the report.
        say: Called with a line of text when something begins.
        executor: What runs the jobs. By default it is the one that the section `execute` of the recipe names.

    Raises:
        UserError: The recipe mixes generated images but names neither a generator nor such images; its device is not
            available; `out` is a file, or lies among the images that it reads; or `out` is a URL without bucket or
            credentials, or one that cannot be written to.
        GenrobustError: The file system of `out` does not answer.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path | str,
        command: str = "",
        say: Callable[[str], None] = lambda line: None,
        executor: Local | None = None,
    ) -> None:
        warn_of_plugins()
        folder = local_folder(out)
        require_outside(recipe.data.places, (folder, folder / recipe.name))
        if folder.is_file():
            raise UserError(f"the output folder {folder} is a file: choose another name")
        if GENERATED in recipe.sources() and recipe.generator is None and recipe.data.generated is None:
            raise UserError("an arm mixes generated images, but the recipe has neither a generator nor data.generated")
        if executor is None:
            executor = open_executor(recipe, folder)
        self.context = Context(executor.placed(recipe, say), folder, executor, say)
        self.recipe, self.out = self.context.recipe, folder
        default_command = shlex.join(["genrobust", "run", f"{recipe.name}.yaml"])
        self.command = command or f"{default_command}  # the recipe below, saved under this name"
        self.graph = Graph(self.context)

    def __repr__(self) -> str:
        arms, seeds = len(self.recipe.arms), len(self.recipe.seeds)
        return f"Study(name={self.recipe.name!r}, {arms=}, {seeds=}, out={str(self.out)!r})"

    @property
    def data(self) -> StudyData:
        """The images of the study.

        Raises:
            UserError: The recipe names test sets that the data lacks.
        """
        return self.context.data

    def notices(self) -> list[str]:
        """Return what is wrong with the images: copies, images that cannot be read, and test images seen before.

        Raises:
            UserError: An image cannot be read.
        """
        return [*map(str, self.context.notices), *describe_starts_seen(self.graph.checkpoints)]

    @property
    def tests(self) -> list[str]:
        """The test sets that are scored, the clean one first."""
        return self.context.tests

    def rows(self) -> list[Row]:
        """Return all work of the study, done or not, in its order."""
        return list(rows(self.graph.stages()))

    def dataset(self, name: str) -> GeneratedDataset:
        """Return the generated dataset called `name`, mixed by an arm or not.

        Raises:
            UserError: The name is unknown, or these images are the user's own.
        """
        return self.graph.images.dataset(name)

    def generate(self, name: str) -> ShardDataset:
        """Generate what is missing of the dataset `name`.

        Raises:
            UserError: As for `dataset`; the generator cannot be found, or the folder holds another
                dataset, is in use, or cannot be written.
            GenrobustError: A completed shard is damaged.
        """
        self.graph.generate(name).run()
        return self.dataset(name).images

    def images(self, source: str) -> ImageSet:
        """Return what the arms mix under the name `source` (see `MixturePart`), made now where it is missing."""
        for stage in self.graph.make(source):
            stage.run()
        return self.graph.images.open(source)

    def runs(self, arm: str | None = None) -> list[TrainingRun]:
        """Return the classifiers that are trained: of one arm, or of all arms and then of the baseline line."""
        return [run for run in self.graph.runs if arm is None or (run.of == arm and not run.baseline)]

    def train(self, runs: Sequence[TrainingRun]) -> list[Path]:
        """Return the checkpoints of `runs`, folders; missing ones are trained now."""
        self.graph.require_trainable(runs)
        self.graph.train(runs).run()
        return [self.graph.checkpoints.of(run).folder for run in runs]

    def checkpoint(self, arm: ArmConfig, seed: int) -> Path:
        """Return the trained classifier of one arm and seed: a folder."""
        return self.train([run_of(self.recipe, arm, seed)])[0]

    def predictions(self, runs: Sequence[TrainingRun]) -> list[SavedPredictions[str]]:
        """Return the predictions of `runs` by test set; missing ones are made now."""
        stage = self.graph.evaluate(runs)
        stage.run()
        return stage.of(runs)

    def scores(self) -> StudyScores:
        """Return everything that the study measured, its baselines, and notes on shifts without a line."""
        return score_study(self.graph)

    def makers(self) -> list[Makers]:
        """Return what made the finished artifacts of the study."""
        stages = self.graph.stages()
        return makers_of(folder for stage in stages for job in stage.jobs() for folder in stage.artifacts(job))

    @property
    def report_folder(self) -> Path:
        """The folder of the report, named after all that it is made of; a link called like the study leads there."""
        return artifact_folder(self.out, self.recipe.name, self._report_inputs)

    def describe_report_copy(self) -> str:
        """Say that the path of the link to the newest report holds something else. "" if it is a link or free.

        A copy that follows links makes a folder of the link.
        """
        path = self.out / self.recipe.name
        if path.is_symlink() or not path.exists():
            return ""
        return (
            f"{path} is no link to the newest report, and may hold an older one. The newest is in "
            f"{self.report_folder}: move {path} away, and the next run makes the link"
        )

    def find_report(self, name: str) -> Path | None:
        """Return the file `name` of the report; None where it was not written."""
        report = Artifact(self.report_folder).fetch()
        if report.is_finished:
            report.fetch_files([name])
        return report.folder / name if (report.folder / name).is_file() else None

    @cached_property
    def _report_inputs(self) -> dict[str, Any]:
        checkpoints = [self.graph.checkpoints.of(run).folder.name for run in (*self.graph.runs, *self.graph.points)]
        with_clip = [config for config in (self.recipe.zero_shot, self.recipe.quality) if config is not None]
        clips = [hash_clip(find_clip(config.clip)) for config in with_clip]
        tests = {name: self.data.tests[name].fingerprint for name in self.tests}
        return report_inputs(self.recipe, [*checkpoints, *clips], tests)

    def run(self) -> tuple[Summary, dict[str, Path]]:
        """Run all stages to the report; returns what was measured and the files written, by kind.

        Raises:
            UserError: Other versions of genrobust or its libraries began something that is not finished.
            GenrobustError: A stage fails.
        """
        view, files = self.report()
        return view.summary, files

    def report(self) -> tuple[ReportView, dict[str, Path]]:
        """Run all stages as `run`; returns all that the report shows, and the files written, by kind."""
        for line in describe_others(self.makers()):
            self.context.log(f"reused: {line}")
        SECTIONS.require_unique()
        stages = self.graph.stages()
        self.graph.require_trainable(self.graph.runs)
        for note in (*check_baselines(self.context), *self.graph.images.doubts()):
            self.context.log(note)
        for stage in stages:
            stage.work()
        scores = self.scores()
        self.context.log("writing the report")
        record = record_of(self.graph, scores, self.command, self.makers())
        view = ReportView(record)
        files = write_report(view, self.report_folder, self._report_inputs)
        link(self.out / self.recipe.name, self.report_folder)
        note = self.describe_report_copy()
        if note:
            self.context.log(note)
        return view, files
