"""A study: the stages in order, for arms x seeds, each in a folder named after the hash of what it depends on."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from genrobust import baselines as baseline_tables
from genrobust.config import ArmConfig, FilterConfig, MixturePart, TrainConfig
from genrobust.data import (
    REAL,
    RETRIEVED,
    ZERO_SHOT,
    ArmRecord,
    BaselineModel,
    ImageSet,
    Predictions,
    StudyData,
    StudyRecord,
    Summary,
    digest,
    slug,
)
from genrobust.devices import resolve_device
from genrobust.errors import UserError
from genrobust.gallery import environment, gallery
from genrobust.generating import GeneratedSet
from genrobust.rates import of_classifier, of_zero_shot
from genrobust.recipe import GENERATED, Recipe
from genrobust.timing import StageTimes

if TYPE_CHECKING:
    from genrobust.train.mixture import Mixture


class Study:
    """The stages of `recipe`, with everything they make under `out`.

    Arms and recipes that ask for the same work share its folder, so nothing is done twice; a killed study goes on where
    it was. `say` is told what begins, in a line.
    """

    def __init__(
        self, recipe: Recipe, out: Path, command: str = "", say: Callable[[str], None] = lambda line: None
    ) -> None:
        self.recipe = recipe
        self.out = out
        self.command = command or f"genrobust run {recipe.name}"
        self._say = say
        self._times = StageTimes(out)
        self._no_line: list[str] = []  # why shifts have none
        if GENERATED in recipe.sources() and recipe.generator is None and recipe.data.generated is None:
            raise UserError("an arm mixes generated images, but the recipe has neither a generator nor data.generated")

    # ------------------------------------------------------------------------------------------- inputs

    @cached_property
    def data(self) -> StudyData:
        from genrobust.sources.load import load_data

        data = load_data(self.recipe.data)
        if self.recipe.evaluate.tests is not None:
            unknown = [t for t in self.recipe.evaluate.tests if t not in data.tests]
            if unknown:
                raise UserError(f"evaluate.tests: no test set {unknown[0]!r}; there are {', '.join(data.tests)}")
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
        return GeneratedSet(name, self.recipe, self.data, self.out, self._times, self._say)

    # ------------------------------------------------------------------------------------------- train

    def retrieved(self, source: str) -> ImageSet:
        """Images taken from the generator's training data: the size-matched control of the first generated dataset.

        `source` is RETRIEVED, matched by class and style, or RETRIEVED_BY_CLASS. Without generated images to match, all
        of them.
        """
        from genrobust.sources.retrieval import retrieve

        pool = self.data.retrieval
        if pool is None:
            raise UserError("an arm mixes retrieved images, but this data has none: name a folder under data.retrieved")
        first = next(iter(self.datasets.values()), None)
        return pool if first is None else retrieve(pool, first.images, match_styles=source == RETRIEVED)

    def images(self, source: str) -> ImageSet:
        """What the arms mix under the name `source`; see `MixturePart`."""
        if source == REAL:
            return self.data.train
        if source not in self.datasets:
            return self.retrieved(source)
        rule = self.recipe.filter_of(source)
        return self.datasets[source].images if rule is None else self._kept(source, rule)

    def _kept(self, source: str, rule: FilterConfig) -> ImageSet:
        """What the filter of a dataset keeps; made now where it is not there yet."""
        from genrobust.audit.filtering import kept, read_filter
        from genrobust.auditing import filter_shards

        dataset = self.datasets[source]
        images, judge = dataset.images, self._judge(rule)
        path = self.filter_path(source, rule, judge)
        if path.exists():
            return kept(images, read_filter(path))
        made = filter_shards(dataset.folder, self.data.labels, rule, judge, self.recipe.device, path)
        self._say(f"kept {made.kept:,} of {made.made:,} images of {source}, by {made.by}")
        return kept(images, made)

    def _judge(self, rule: FilterConfig) -> Path:
        """The folder of the CLIP, or of the classifier, trained now where it is not there yet."""
        from genrobust.clip import find_clip

        if rule.clip is not None:
            return find_clip(rule.clip)
        return self.checkpoint(self.recipe.arm(rule.arm), self.recipe.seeds[0])

    def filter_path(self, source: str, rule: FilterConfig, judge: Path) -> Path:
        """Where the list of what is left out of a dataset lies, or will lie; `judge` is a checkpoint or a CLIP."""
        from genrobust.hashing import hash_folder

        known = hash_folder(judge) if rule.by == "clip" else judge.name
        return self.out / "filters" / f"{digest([self.datasets[source].folder.name, rule, known])}.parquet"

    def mixture(self, parts: tuple[MixturePart, ...], train: TrainConfig) -> Mixture:
        """The images that an arm trains on."""
        from genrobust.train.mixture import Mixture, Part

        return Mixture(
            [Part(p.source, self.images(p.source), p.weight, p.per_class, p.fraction) for p in parts],
            train.batch_size,
            train.image_size,
        )

    def checkpoint(self, arm: ArmConfig, seed: int) -> Path:
        """The trained classifier of one arm and seed: a folder."""
        return self._train(f"{arm.name}, seed {seed}", arm.mixture, self.recipe.train_of(arm), seed)

    def _train(self, what: str, parts: tuple[MixturePart, ...], train: TrainConfig, seed: int) -> Path:
        from genrobust.models import is_checkpoint
        from genrobust.train.loop import STATE
        from genrobust.train.loop import train as train_classifier

        mixture = self.mixture(parts, train)
        recipe = self.recipe
        folder = self.checkpoint_folder(mixture, train, seed)
        with self._times.timed("train", "training images", of_classifier(train, self.device)) as stage:
            stage.missing = 0 if is_checkpoint(folder) else train.steps * train.batch_size
            stage.resumed = (folder / STATE).exists()
            if stage.missing:
                self._say(f"training {what}: {train.steps} steps of {train.batch_size} on {_counts(mixture.counts)}")
            train_classifier(
                mixture,
                self.data.val,
                self.data.labels,
                train,
                seed,
                folder,
                device=recipe.device,
                threads=recipe.threads,
            )
        return folder

    def checkpoint_folder(self, mixture: Mixture, train: TrainConfig, seed: int) -> Path:
        """Where the classifier trained so lies, or will lie."""
        what = [mixture.fingerprint, self.data.val.fingerprint, train, seed, self.recipe.threads, self.device]
        return self.out / "checkpoints" / digest(what)

    # ------------------------------------------------------------------------------------------- evaluate

    def predictions(self, checkpoint: Path) -> dict[str, Predictions]:
        """The checkpoint's predictions on every test set of the study."""
        from genrobust.evaluate.predict import predict

        of = of_classifier(self.recipe.train, self.device)
        with self._times.timed("evaluate", "test images", of) as stage:
            stage.missing = self.missing_predictions(checkpoint)
            return predict(
                checkpoint,
                {name: self.data.tests[name] for name in self.tests},
                self.data.labels,
                self._predictions_folder(checkpoint),
                batch_size=self.recipe.evaluate.batch_size,
                device=self.recipe.device,
                threads=self.recipe.threads,
            )

    def zero_shot(self) -> dict[str, Predictions]:
        """What the recipe's zero-shot CLIP answers on every test set of the study; nothing where it has none."""
        from genrobust.clip import find_clip
        from genrobust.evaluate.zero_shot import predict_zero_shot
        from genrobust.prompts.plan import class_templates

        recipe = self.recipe
        if recipe.zero_shot is None:
            return {}
        templates, classes = class_templates(recipe.generate.prompts, self.data.labels), self.data.labels.classes
        with self._times.timed("evaluate", "test images", of_zero_shot(recipe.zero_shot, self.device)) as stage:
            stage.missing = self.missing_zero_shot()
            return predict_zero_shot(
                find_clip(recipe.zero_shot.clip),
                [[t.fill(c.prompt) for t in of_class] for of_class, c in zip(templates, classes, strict=True)],
                recipe.train.image_size,
                {name: self.data.tests[name] for name in self.tests},
                self.data.labels,
                self._zero_shot_folder(),
                batch_size=recipe.evaluate.batch_size,
                device=recipe.device,
                threads=recipe.threads,
            )

    def _zero_shot_folder(self) -> Path:
        from genrobust.clip import find_clip
        from genrobust.hashing import hash_folder

        assert self.recipe.zero_shot is not None  # those who ask have looked
        what = [hash_folder(find_clip(self.recipe.zero_shot.clip)), self.recipe.generate.prompts]
        return self.out / "predictions" / digest(what)

    def _predictions_folder(self, checkpoint: Path) -> Path:
        return self.out / "predictions" / checkpoint.name

    def missing_predictions(self, checkpoint: Path) -> int:
        """How many test images the checkpoint has not seen."""
        return self._unseen(self._predictions_folder(checkpoint))

    def missing_zero_shot(self) -> int:
        """How many test images the recipe's zero-shot CLIP has not seen."""
        return self._unseen(self._zero_shot_folder())

    def _unseen(self, folder: Path) -> int:
        return sum(len(self.data.tests[n]) for n in self.tests if not (folder / f"{slug(n)}.npz").exists())

    # ------------------------------------------------------------------------------------------- score

    def baseline_rows(self) -> list[BaselineModel]:
        """The baseline models: those of the table, or those of a grid trained now."""
        settings = self.recipe.robustness
        if settings.grid == 0:
            name = settings.baselines
            if name is None or (name == "pictograms" and self.recipe.data.source != "pictograms"):
                return []  # another benchmark's models say nothing here, even where a set has the same name
            return [r for r in baseline_tables.read_table(name) if r.test_set in self.shifts]
        from genrobust.robustness.summary import summarize

        found: dict[tuple[str, int, str], Predictions] = {}
        for model in baseline_tables.grid(self.recipe.train, settings.grid):
            folder = self._train(f"baseline {model.name}", model.parts, model.train, seed=0)
            found |= {(model.name, 0, test): p for test, p in self.predictions(folder).items()}
        first = next(iter(found))[0]
        summary = summarize(found, [], self.data.clean, self.shifts, first, settings.transform, bootstrap=10)
        return list(self._with_a_line(baseline_tables.rows_of(summary)))

    def _with_a_line(self, rows: list[BaselineModel]) -> Iterator[BaselineModel]:
        """The rows of the shifts that a line can be fitted to: a study is not lost because its grid is too alike."""
        from genrobust.robustness.effective import fit_lines

        for shift in self.shifts:
            of_shift = [row for row in rows if row.test_set == shift]
            try:
                fit_lines(of_shift, [shift], self.recipe.robustness.transform)
            except UserError as error:
                self._no_line.append(f"No baseline line for {shift}: {error}.")
            else:
                yield from of_shift

    def summary(self) -> tuple[Summary, list[BaselineModel]]:
        """Everything that the study measured, and the baselines that it was held against."""
        from genrobust.robustness.summary import summarize

        found = {
            (arm.name, seed, test): predictions
            for seed in self.recipe.seeds
            for arm in self.recipe.arms
            for test, predictions in self.predictions(self.checkpoint(arm, seed)).items()
        }
        beside = self.zero_shot()
        found |= {(ZERO_SHOT, seed, test): p for seed in self.recipe.seeds for test, p in beside.items()}
        rows = self.baseline_rows()
        settings = self.recipe.robustness
        summary = summarize(
            found,
            rows,
            self.data.clean,
            self.shifts,
            self.recipe.reference,
            settings.transform,
            self.recipe.evaluate.min_images,
            settings.bootstrap,
        )
        return replace(summary, trained_elsewhere=(ZERO_SHOT,) if beside else ()), rows

    # ------------------------------------------------------------------------------------------- report

    def run(self) -> tuple[Summary, dict[str, Path]]:
        """All stages to the report; returns what was measured and the files written, by kind."""
        from genrobust.clip import find_clip
        from genrobust.report.write import write_report

        for rule in map(self.recipe.filter_of, self.datasets):
            if rule is not None and rule.clip is not None:
                find_clip(rule.clip)  # what is not to be had is told before anything is made
        self.zero_shot()
        for dataset in self.datasets.values():
            _ = dataset.images  # all of them before the first training: what fails, fails early
        summary, rows = self.summary()
        self._say("writing the report")
        mixed = [REAL, *self.datasets, *sorted(self.recipe.sources() & {RETRIEVED})]
        record = StudyRecord(
            title=self.recipe.title or self.recipe.name,
            question=self.recipe.question,
            command=self.command,
            recipe_yaml=yaml.safe_dump(self.recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
            date=datetime.date.today().isoformat(),
            summary=summary,
            arms=tuple(self._arm_record(arm) for arm in self.recipe.arms),
            stages=self._times.records,
            pictures=tuple(gallery(self.data.labels, {s: self.images(s) for s in mixed})),
            environment=environment(self.device, self.recipe.threads),
            baselines=tuple(rows),
            notes=tuple(self._notes(rows)),
        )
        return summary, write_report(record, self.out / self.recipe.name)

    def _notes(self, rows: list[BaselineModel]) -> Iterator[str]:
        if len(self.recipe.seeds) < 3:
            seeds = "One training seed" if len(self.recipe.seeds) == 1 else "Two training seeds"
            yield f"{seeds}: differences between arms show what happened here and claim nothing in general."
        if not rows:
            yield "No baseline models: without them there is no line, and so no effective robustness."
        yield from self._no_line
        if RETRIEVED in self.recipe.sources() and self.datasets:
            wanted, got = len(next(iter(self.datasets.values())).images), len(self.retrieved(RETRIEVED))
            if got < wanted:
                yield f"Retrieval found {got:,} images for {wanted:,} generated ones: some classes ran short."

    def _arm_record(self, arm: ArmConfig) -> ArmRecord:
        train = self.recipe.train_of(arm)
        counts = self.mixture(arm.mixture, train).counts
        return ArmRecord(arm.name, dict(counts), train.architecture, train.augmentation, train.steps, train.batch_size)

    @cached_property
    def device(self) -> str:
        """The kind of device that this study runs on: cuda, mps or cpu."""
        return resolve_device(self.recipe.device).type


def _counts(counts: dict[str, int]) -> str:
    return " + ".join(f"{n:,} {name}" for name, n in counts.items())
