"""A study: the stages in order, for arms x seeds, each in a folder named after the hash of what it depends on."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrobust.core import (
    REAL,
    RETRIEVED,
    ZERO_SHOT,
    BaselineModel,
    Claim,
    GenrobustError,
    ImageSet,
    Line,
    SourceQuality,
    StudyData,
    StudyRecord,
    Summary,
    UserError,
    address,
    device_kind,
    digest,
    fetch,
    local_folder,
)
from genrobust.recipe import GENERATED, ArmConfig, FilterConfig, QualityConfig, Recipe, recipe_yaml
from genrobust.study import baselines as baseline_tables
from genrobust.study.executors.local import Local
from genrobust.study.gallery import environment, gallery
from genrobust.study.jobs import DoJobs, Executor, Job, Work
from genrobust.study.named_tests import check_named_tests
from genrobust.study.notes import notes
from genrobust.study.rates import measured_rate, of_evaluating, of_training, of_zero_shot, place_of
from genrobust.study.stages.evaluating import Evaluation
from genrobust.study.stages.generating import GeneratedSet
from genrobust.study.stages.training import Training
from genrobust.study.timing import StageTimes
from genrobust.study.tracking import Tracking
from genrobust.study.training_runs import TrainingRun, arm_runs, baseline_runs, run_of

if TYPE_CHECKING:
    from genrobust.classifiers import SavedPredictions
    from genrobust.study.qualities import Qualities
    from genrobust.train import Mixture


_NOT_SHARED = "choose an --out on a disk that all nodes share, under the same path, or an URL"


class Study:
    """The stages of `recipe`, with everything they make under `out`.

    Arms and recipes that ask for the same work share its folder, so nothing is done twice; a killed study goes on where
    it was. `say` is told what begins, in a line. `executor` does the work, here where none is named; to another process
    a study goes as its recipe and folder. For an URL, `out` is then this machine's copy of what lies there; raises as
    `mirror.local_folder` does.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path | str,
        command: str = "",
        say: Callable[[str], None] = lambda line: None,
        executor: Executor | None = None,
    ) -> None:
        self._executor: Executor = Local() if executor is None else executor
        self.out = out = local_folder(out)
        self.recipe = recipe = self._executor.placed(recipe, say)
        self.command = command or f"genrobust run {recipe.name}"
        self._say = say
        self._times = StageTimes(out)
        self._no_line: list[str] = []  # why shifts have none
        if GENERATED in recipe.sources() and recipe.generator is None and recipe.data.generated is None:
            raise UserError("an arm mixes generated images, but the recipe has neither a generator nor data.generated")
        self._tracking = Tracking(recipe.track, out / recipe.name / "track", recipe.name, recipe_yaml(recipe))

    def __reduce__(self) -> tuple[Any, ...]:
        return Study, (self.recipe, address(self.out))

    # ------------------------------------------------------------------------------------------- inputs

    @cached_property
    def data(self) -> StudyData:
        from genrobust.data import load_data

        data = load_data(self.recipe.data)
        check_named_tests(self.recipe, data)
        return data

    @property
    def tests(self) -> list[str]:
        """The test sets that are scored, the clean one first."""
        chosen = self.recipe.evaluate.tests
        return [n for n in self.data.tests if chosen is None or n in chosen or n == self.data.clean]

    @property
    def shifts(self) -> list[str]:
        return [n for n in self.tests if n != self.data.clean]

    @cached_property
    def datasets(self) -> dict[str, GeneratedSet]:
        """The generated datasets that the arms mix, by name."""
        return {name: self.dataset(name) for name in self.recipe.generated_sets()}

    def dataset(self, name: str) -> GeneratedSet:
        """The generated dataset called `name`, whether an arm mixes it or not; raises UserError for an unknown name."""
        known = [GENERATED, *self.recipe.datasets]
        if name not in known:
            raise UserError(f"the recipe has no dataset {name!r}; there are {', '.join(known)}")
        return GeneratedSet(name, self.recipe, self.data, self.out, self._times, self._say, self._executor)

    # ------------------------------------------------------------------------------------------- train

    def retrieved(self, source: str) -> ImageSet:
        """Images taken from the generator's training data: the size-matched control of the first generated dataset.

        `source` is RETRIEVED, matched by class and style, or RETRIEVED_BY_CLASS. Without generated images to match, all
        of them.
        """
        from genrobust.data import retrieve

        pool = self.data.retrieval
        if pool is None:
            raise UserError("an arm mixes retrieved images, but this data has none: name a folder under data.retrieved")
        first = next(iter(self.datasets.values()), None)
        return pool if first is None else retrieve(pool, first.images, match_styles=source == RETRIEVED)

    def images(self, source: str) -> ImageSet:
        """What the arms mix under the name `source`; see `MixturePart`."""
        if source == REAL:
            return self.data.train
        if source in self.data.extra:
            return self.data.extra[source]
        if source not in self.datasets:
            return self.retrieved(source)
        rule = self.recipe.filter_of(source)
        return self.datasets[source].images if rule is None else self._kept(source, rule)

    def _kept(self, source: str, rule: FilterConfig) -> ImageSet:
        """What the filter of a dataset keeps; made now where it is not there yet."""
        from genrobust.data import kept, read_filter

        images, path = self.datasets[source].images, self.filter_path(source, rule, self._judge(rule))
        if not path.exists():
            self._executor.run(Work("filtering", [Job(source, f"the filter of {source}", len(images))], self.filterer))
            fetch(path.parent, path.name)
            made = read_filter(path)
            self._say(f"kept {made.kept:,} of {made.made:,} images of {source}, by {made.by}")
        return kept(images, read_filter(path))

    def filterer(self) -> DoJobs:
        """What makes the filters of datasets, by name, whose images and judges are there."""
        from genrobust.study.auditing import filter_shards

        def make(sources: Sequence[str]) -> None:
            for source in sources:
                rule = self.recipe.filter_of(source)
                assert rule is not None  # who asks has looked
                folder, judge = self.datasets[source].folder, self._judge(rule)
                path = self.filter_path(source, rule, judge)
                self.datasets[source].bring()
                how = self.recipe.device, self.recipe.evaluate.batch_size
                filter_shards(folder, self.data.labels, rule, judge, *how, path)

        return make

    def _judge(self, rule: FilterConfig) -> Path:
        """The folder of the CLIP, or of the classifier, trained now where it is not there yet."""
        from genrobust.core import find_clip

        if rule.clip is not None:
            return find_clip(rule.clip)
        return self.checkpoint(self.recipe.arm(rule.arm), self.recipe.seeds[0])

    def filter_path(self, source: str, rule: FilterConfig, judge: Path) -> Path:
        """Where the list of what is left out of a dataset lies, or will lie; `judge` is a checkpoint or a CLIP."""
        from genrobust.core import hash_folder

        known = hash_folder(judge) if rule.by == "clip" else judge.name
        path = self.out / "filters" / f"{digest([self.datasets[source].folder.name, rule, known])}.parquet"
        fetch(path.parent, path.name)
        return path

    def runs(self, arm: str | None = None) -> list[TrainingRun]:
        """The classifiers that are trained: of one arm, or of all arms and then of the baseline line."""
        if arm is not None:
            return [cell for cell in arm_runs(self.recipe) if cell.of == arm]
        return [*arm_runs(self.recipe), *baseline_runs(self.recipe, len(self.data.train))]

    def checkpoint(self, arm: ArmConfig, seed: int) -> Path:
        """The trained classifier of one arm and seed: a folder."""
        return self.train([run_of(self.recipe, arm, seed)])[0]

    def train(self, cells: Sequence[TrainingRun]) -> list[Path]:
        """The folders of trained classifiers; those that are missing are trained now, none waiting for another."""
        from genrobust.classifiers import fetch_checkpoint, is_checkpoint

        folders: list[Path] = []
        wanted: dict[Path, Job] = {}  # arms that ask for the same share a folder
        mixtures: dict[Path, Mixture] = {}
        for cell in cells:
            mixture = self.training.mixture(cell.parts, cell.train)
            folders.append(self.training.folder(mixture, cell.train, cell.seed))
            fetch_checkpoint(folders[-1])
            if not is_checkpoint(folders[-1]):
                images = cell.train.steps_for(len(mixture)) * cell.train.batch_size
                of = of_training(cell.train, place_of(self.recipe))
                wanted.setdefault(folders[-1], Job(cell, cell.name, images, of, cell.train.workers))
                mixtures[folders[-1]] = mixture
        if self._executor.here:
            self._pack(list(mixtures.values()))
        together = min(self._executor.workers(), len(wanted))
        if together > 1:  # else each training says that it begins
            self._say(f"training {len(wanted)} classifiers, {together} at a time")
        longest_first = sorted(wanted.values(), key=lambda job: -job.size)  # or one worker ends long after all
        self._times.run(self._executor, "train", "training images", Work("training", longest_first, self.trainer))
        for cell, folder in zip(cells, folders, strict=True):
            if folder in wanted:
                fetch_checkpoint(folder)
            if not is_checkpoint(folder):
                raise GenrobustError(f"{cell.name} was trained, but not in {folder}: {_NOT_SHARED}")
            if folder not in wanted or wanted[folder].key is not cell:
                self.training.found(cell, folder)
        return folders

    def trainer(self) -> DoJobs:
        """What trains cells whose images are there."""

        def train(cells: Sequence[TrainingRun]) -> None:
            for source in {part.source for cell in cells for part in cell.parts} & self.datasets.keys():
                self.datasets[source].bring()
            self.training.train(cells)

        return train

    @cached_property
    def training(self) -> Training:
        """What trains the cells, and where."""
        return Training(self.recipe, self.data, self.images, self.out, self._tracking, self._say)

    def _pack(self, mixtures: Sequence[Mixture]) -> None:
        """Make the packed copies that trainings on `mixtures` read; each pack uses all cores by itself."""
        for mixture in mixtures:
            if count := sum(mixture.unpacked().values()):
                with self._times.timed("pack", "images", count):
                    self.training.pack(mixture)

    # ------------------------------------------------------------------------------------------- evaluate

    @cached_property
    def evaluation(self) -> Evaluation:
        """The predictions on the test sets of the study, as far as they are there."""
        return Evaluation(self.recipe, self.data, self.tests, self.out)

    def predictions(self, checkpoint: Path) -> SavedPredictions[str]:
        """The checkpoint's predictions on every test set of the study."""
        self.evaluate([checkpoint])
        return self.evaluation.predictions(checkpoint)

    def zero_shot(self) -> SavedPredictions[str]:
        """What the recipe's zero-shot CLIP answers on every test set of the study; nothing where it has none."""
        if self.recipe.zero_shot is not None:
            self.evaluate([None])
        return self.evaluation.zero_shot()

    def evaluate(self, checkpoints: Sequence[Path | None]) -> None:
        """Make what is missing of the predictions of `checkpoints`, where None is the recipe's zero-shot CLIP."""
        count = {key: self.evaluation.missing(key) for key in checkpoints}
        # By their place below `out`, which may be another folder on another machine.
        jobs = [
            Job(
                key and key.relative_to(self.out), f"the predictions of {key or ZERO_SHOT}", count[key], self._rate(key)
            )
            for key in count
            if count[key]
        ]
        work = Work("evaluating", jobs, self.predictor, together=True)
        self._times.run(self._executor, "evaluate", "test images", work)
        for job in jobs:
            if self.evaluation.missing(job.key and self.out / job.key):
                raise GenrobustError(f"{job.name} were made, but not here: {_NOT_SHARED}")

    def _rate(self, checkpoint: Path | None) -> str:
        """What the rate of predicting with `checkpoint` depends on, or with the zero-shot CLIP for None."""
        recipe, place = self.recipe, place_of(self.recipe)
        if checkpoint is None and recipe.zero_shot is not None:
            return of_zero_shot(recipe.zero_shot, place)
        return of_evaluating(recipe.train, recipe.evaluate, place)

    def predictor(self) -> DoJobs:
        """What makes the predictions of checkpoints, and of the zero-shot CLIP for None."""

        def make(places: Sequence[Path | None]) -> None:
            self.evaluation.make([place and self.out / place for place in places])

        return make

    # ------------------------------------------------------------------------------------------- score

    def baseline_rows(self) -> list[BaselineModel]:
        """The baseline models: those of the table, or those of a grid trained now."""
        settings = self.recipe.robustness
        if settings.grid == 0:
            name = self.recipe.data.source if settings.baselines == "shipped" else settings.baselines
            if name in (None, "folders", "imagenet"):
                return []  # there are none, or lines alone
            return [r for r in baseline_tables.read_table(name) if r.test_set in self.shifts]
        cells = baseline_runs(self.recipe, len(self.data.train))
        rows, notes = baseline_tables.rows_with_lines(self._scored(cells), self.data.clean, self.shifts, settings)
        self._no_line += notes
        return rows

    def _scored(self, cells: Sequence[TrainingRun]) -> SavedPredictions[tuple[str, int, str]]:
        """The predictions of `cells` by arm, seed and test set; what is missing is made first."""
        from genrobust.classifiers import SavedPredictions

        found = zip(cells, map(self.predictions, self.train(cells)), strict=True)
        return SavedPredictions({(c.of, c.seed, test): file for c, made in found for test, file in made.files.items()})

    def published_lines(self) -> dict[str, Line]:
        """The lines of shifts that are known without their models."""
        recipe, classes = self.recipe, len(self.data.labels)
        lines, notes = baseline_tables.published_lines(recipe.robustness, recipe.data, self.shifts, classes)
        self._no_line += notes
        return lines

    def summary(self) -> tuple[Summary, list[BaselineModel]]:
        """Everything that the study measured, and the baselines that it was held against."""
        from genrobust.classifiers import SavedPredictions
        from genrobust.robustness import summarize

        self.evaluate(self.train(self.runs()))  # all at once, baselines too
        files = self._scored(arm_runs(self.recipe)).files
        beside = self.zero_shot()
        files |= {(ZERO_SHOT, seed, test): f for seed in self.recipe.seeds for test, f in beside.files.items()}
        rows = self.baseline_rows()
        settings = self.recipe.robustness
        summary = summarize(
            SavedPredictions(files),
            rows,
            self.data.clean,
            self.shifts,
            self.recipe.reference,
            settings.transform,
            self.recipe.evaluate.min_images,
            settings.bootstrap,
            pairs=[(c.arm, c.than) for c in self.recipe.claims if c.arm not in self.recipe.groups()],
            references=self.recipe.references(),
            groups=self.recipe.groups(),
            second_id=settings.second_id,
            published=self.published_lines(),
            beside=self.recipe.evaluate.beside,
        )
        return replace(summary, trained_elsewhere=(ZERO_SHOT,) if beside else ()), rows

    def qualities(self) -> tuple[SourceQuality, ...]:
        """What the images of each source are like; nothing where the recipe does not ask."""
        if self.recipe.quality is None:
            return ()
        made = self._qualities(self.recipe.quality)
        jobs = [Job(key, f"the CLIP's view of {key or 'classes'}", count) for key, count in made.missing().items()]
        self._executor.run(Work("CLIP", jobs, self.embedder))
        rates = {n: measured_rate(self.out, "generate", d.rate_key) for n, d in self.datasets.items() if not d.brought}
        return tuple(replace(quality, per_second=rates.get(quality.source)) for quality in made.measured())

    def embedder(self) -> DoJobs:
        """What shows sources, by name, and the classes, for None, to the CLIP of the qualities."""
        assert self.recipe.quality is not None  # who asks has looked
        return self._qualities(self.recipe.quality).embed

    def _qualities(self, config: QualityConfig) -> Qualities:
        from genrobust.study.qualities import Qualities

        sources = {name: self.images(name) for name in self._pictured()}
        how = self.recipe.device, self.recipe.evaluate.batch_size
        return Qualities(config, sources, self.evaluation.class_texts(), self.out, *how)

    # ------------------------------------------------------------------------------------------- report

    def run(self) -> tuple[Summary, dict[str, Path]]:
        """All stages to the report; returns what was measured and the files written, by kind."""
        from genrobust.core import find_clip
        from genrobust.report import write_report

        rules = map(self.recipe.filter_of, self.datasets)
        for section in (*rules, self.recipe.quality):
            if section is not None and section.clip is not None:
                find_clip(section.clip)  # what is not to be had is told before anything is made
        unmade = {name for name, dataset in self.datasets.items() if dataset.missing()}
        for cell in self.runs() if unmade else ():
            if unmade & {part.source for part in cell.parts}:
                self._executor.require(cell.train.workers)  # not told when all images are made
        self.zero_shot()
        for dataset in self.datasets.values():
            _ = dataset.images  # all of them before the first training: what fails, fails early
        summary, rows = self.summary()
        qualities = self.qualities()
        self._say("writing the report")
        record = StudyRecord(
            title=self.recipe.title or self.recipe.name,
            question=self.recipe.question,
            command=self.command,
            recipe_yaml=recipe_yaml(self.recipe),
            date=datetime.date.today().isoformat(),
            summary=summary,
            arms=tuple(self.training.record(run_of(self.recipe, arm, 0)) for arm in self.recipe.arms),
            stages=self._times.records,
            pictures=tuple(gallery(self.data.labels, {s: self.images(s) for s in self._pictured()})),
            environment=environment(self.device, self.recipe.threads, self.workers),
            baselines=tuple(rows),
            notes=(*notes(self.recipe, rows, summary.lines.values(), self._retrieval()), *self._no_line),
            not_generated=self.recipe.not_generated,
            claims=tuple(Claim(**claim.model_dump()) for claim in self.recipe.claims),
            kinds={name: shift.kind for name, shift in self.recipe.data.shifts.items()},
            qualities=qualities,
        )
        self._tracking.outcome(record)
        return summary, write_report(record, self.out / self.recipe.name)

    def _retrieval(self) -> tuple[int, int] | None:
        """How many images were retrieved, and for how many generated ones; None where none were."""
        if RETRIEVED not in self.recipe.sources() or not self.datasets:
            return None
        return len(self.retrieved(RETRIEVED)), len(next(iter(self.datasets.values())).images)

    def _pictured(self) -> list[str]:
        """The sources that a report shows beside each other."""
        return [REAL, *self.datasets, *sorted(self.recipe.sources() & {RETRIEVED, *self.data.extra})]

    @property
    def executor(self) -> Executor:
        """What does the work."""
        return self._executor

    @property
    def workers(self) -> int:
        """How many independent jobs are done at the same time."""
        return self._executor.workers()

    @cached_property
    def device(self) -> str:
        """The kind of device that this study runs on: cuda, mps or cpu."""
        return device_kind(self.recipe.device)
