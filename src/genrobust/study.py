"""A study: the stages in order, for arms x seeds, each in a folder named after the hash of what it depends on."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping
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
    Claim,
    ImageSet,
    Line,
    SourceQuality,
    StudyData,
    StudyRecord,
    Summary,
    digest,
    slug,
)
from genrobust.devices import device_kind
from genrobust.errors import UserError
from genrobust.gallery import environment, gallery
from genrobust.generating import GeneratedSet
from genrobust.named_tests import check_named_tests
from genrobust.rates import measured_rate, of_classifier, of_zero_shot
from genrobust.recipe import GENERATED, Recipe
from genrobust.robustness.imagenet_lines import SOURCE as PUBLISHED
from genrobust.timing import StageTimes
from genrobust.tracking import Tracking

if TYPE_CHECKING:
    from genrobust.evaluate.saved import SavedPredictions
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
        self._tracking = Tracking(recipe.track, out / recipe.name / "track", recipe.name, self._recipe_yaml)

    @property
    def _recipe_yaml(self) -> str:
        return yaml.safe_dump(self.recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    # ------------------------------------------------------------------------------------------- inputs

    @cached_property
    def data(self) -> StudyData:
        from genrobust.sources.load import load_data

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
        if source in self.data.extra:
            return self.data.extra[source]
        if source not in self.datasets:
            return self.retrieved(source)
        rule = self.recipe.filter_of(source)
        return self.datasets[source].images if rule is None else self._kept(source, rule)

    def _kept(self, source: str, rule: FilterConfig) -> ImageSet:
        """What the filter of a dataset keeps; made now where it is not there yet."""
        from genrobust.audit.filtering import kept, read_filter

        dataset = self.datasets[source]
        images, judge = dataset.images, self._judge(rule)
        path = self.filter_path(source, rule, judge)
        if path.exists():
            return kept(images, read_filter(path))
        from genrobust.auditing import filter_shards

        made = filter_shards(dataset.folder, self.data.labels, rule, judge, self.recipe.device, path)
        self._say(f"kept {made.kept:,} of {made.made:,} images of {source}, by {made.by}")
        return kept(images, made)

    def _judge(self, rule: FilterConfig) -> Path:
        """The folder of the CLIP, or of the classifier, trained now where it is not there yet."""
        from genrobust.embedded import find_clip

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
            train.crop,
            self.out / "packed" if self.recipe.data.packed else None,
        )

    def checkpoint(self, arm: ArmConfig, seed: int) -> Path:
        """The trained classifier of one arm and seed: a folder."""
        return self._train(f"{arm.name}, seed {seed}", arm.mixture, self.recipe.train_of(arm), seed)

    def _train(self, what: str, parts: tuple[MixturePart, ...], train: TrainConfig, seed: int) -> Path:
        from genrobust.checkpoints import is_checkpoint

        mixture = self.mixture(parts, train)
        recipe = self.recipe
        folder, steps = self.checkpoint_folder(mixture, train, seed), train.steps_for(len(mixture))
        timed = self._times.timed("train", "training images", of_classifier(train, self.device))
        with timed as stage, self._tracking.training(what, folder) as watch:
            if not is_checkpoint(folder):
                from genrobust.train.loop import STATE
                from genrobust.train.loop import train as train_classifier

                stage.missing = steps * train.batch_size
                stage.resumed = (folder / STATE).exists()
                self._say(f"training {what}: {steps} steps of {train.batch_size} on {_counts(mixture.counts)}")
                train_classifier(
                    mixture,
                    self.data.val,
                    self.data.labels,
                    train,
                    seed,
                    folder,
                    device=recipe.device,
                    threads=recipe.threads,
                    watch=watch,
                )
        return folder

    def checkpoint_folder(self, mixture: Mixture, train: TrainConfig, seed: int) -> Path:
        """Where the classifier trained so lies, or will lie."""
        what = [mixture.fingerprint, self.data.val.fingerprint, train, seed, self.recipe.threads, self.device]
        return self.out / "checkpoints" / digest(what)

    # ------------------------------------------------------------------------------------------- evaluate

    def predictions(self, checkpoint: Path) -> SavedPredictions[str]:
        """The checkpoint's predictions on every test set of the study."""
        return self.all_predictions([checkpoint])[checkpoint]

    def all_predictions(self, checkpoints: Iterable[Path]) -> dict[Path, SavedPredictions[str]]:
        """The predictions of many checkpoints, for which each test image is decoded once."""
        from genrobust.evaluate.predict import predict_all

        folders = {checkpoint: self._predictions_folder(checkpoint) for checkpoint in checkpoints}
        of = of_classifier(self.recipe.train, self.device)
        with self._times.timed("evaluate", "test images", of) as stage:
            stage.missing = sum(map(self.missing_predictions, folders))
            return predict_all(
                folders,
                {name: self.data.tests[name] for name in self.tests},
                self.data.labels,
                settings=self.recipe.evaluate,
                device=self.recipe.device,
                threads=self.recipe.threads,
            )

    def zero_shot(self) -> SavedPredictions[str]:
        """What the recipe's zero-shot CLIP answers on every test set of the study; nothing where it has none."""
        from genrobust.evaluate.saved import SavedPredictions

        recipe = self.recipe
        if recipe.zero_shot is None:
            return SavedPredictions({})
        from genrobust.embedded import find_clip
        from genrobust.evaluate.zero_shot import predict_zero_shot

        with self._times.timed("evaluate", "test images", of_zero_shot(recipe.zero_shot, self.device)) as stage:
            stage.missing = self.missing_zero_shot()
            return predict_zero_shot(
                find_clip(recipe.zero_shot.clip),
                self._class_texts(),
                recipe.evaluate,
                recipe.train.image_size,
                {name: self.data.tests[name] for name in self.tests},
                self.data.labels,
                self._zero_shot_folder(),
                device=recipe.device,
                threads=recipe.threads,
            )

    def _class_texts(self) -> list[list[str]]:
        """The recipe's prompts of each class: what a CLIP knows it by."""
        from genrobust.prompts.plan import class_templates

        templates, classes = class_templates(self.recipe.generate.prompts, self.data.labels), self.data.labels.classes
        return [[t.fill(c.prompt) for t in of_class] for of_class, c in zip(templates, classes, strict=True)]

    def _zero_shot_folder(self) -> Path:
        from genrobust.embedded import find_clip
        from genrobust.hashing import hash_folder

        assert self.recipe.zero_shot is not None  # those who ask have looked
        what = [hash_folder(find_clip(self.recipe.zero_shot.clip)), self.recipe.generate.prompts]
        what += filter(None, [self.recipe.evaluate.protocol])
        return self.out / "predictions" / digest(what)

    def _predictions_folder(self, checkpoint: Path) -> Path:
        how = self.recipe.evaluate.protocol
        return self.out / "predictions" / (digest([checkpoint.name, how]) if how else checkpoint.name)

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
            name = self.recipe.data.source if settings.baselines == "shipped" else settings.baselines
            if name in (None, "folders", "imagenet"):
                return []  # there are none, or lines alone
            return [r for r in baseline_tables.read_table(name) if r.test_set in self.shifts]
        from genrobust.evaluate.saved import SavedPredictions
        from genrobust.robustness.summary import summarize

        grid = baseline_tables.grid(self.recipe.train, settings.grid, len(self.data.train))
        trained = {m.name: self._train(f"baseline {m.name}", m.parts, m.train, seed=0) for m in grid}
        made = self.all_predictions(trained.values())
        files = {(n, 0, test): file for n, folder in trained.items() for test, file in made[folder].files.items()}
        first, found = next(iter(files))[0], SavedPredictions(files)
        summary = summarize(found, [], self.data.clean, self.shifts, first, settings.transform, bootstrap=10)
        return list(self._with_a_line(baseline_tables.rows_of(summary)))

    def published_lines(self) -> dict[str, Line]:
        """The lines of shifts that are known without their models."""
        recipe, classes = self.recipe, len(self.data.labels)
        lines, notes = baseline_tables.published_lines(recipe.robustness, recipe.data, self.shifts, classes)
        self._no_line += notes
        return lines

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
        from genrobust.evaluate.saved import SavedPredictions
        from genrobust.robustness.summary import summarize

        cells = [(arm, seed) for seed in self.recipe.seeds for arm in self.recipe.arms]
        trained = {(arm.name, seed): self.checkpoint(arm, seed) for arm, seed in cells}
        made = self.all_predictions(trained.values())
        files = {(*cell, test): file for cell, folder in trained.items() for test, file in made[folder].files.items()}
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
            pairs=[(claim.arm, claim.than) for claim in self.recipe.claims],
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
        from genrobust.qualities import measure_qualities

        sources = {name: self.images(name) for name in self._pictured()}
        found = measure_qualities(self.recipe.quality, sources, self._class_texts(), self.out, self.recipe.device)
        rates = {n: measured_rate(self.out, "generate", d.rate_key) for n, d in self.datasets.items() if not d.brought}
        return tuple(replace(quality, per_second=rates.get(quality.source)) for quality in found)

    # ------------------------------------------------------------------------------------------- report

    def run(self) -> tuple[Summary, dict[str, Path]]:
        """All stages to the report; returns what was measured and the files written, by kind."""
        from genrobust.embedded import find_clip
        from genrobust.report.write import write_report

        rules = map(self.recipe.filter_of, self.datasets)
        for section in (*rules, self.recipe.quality):
            if section is not None and section.clip is not None:
                find_clip(section.clip)  # what is not to be had is told before anything is made
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
            recipe_yaml=self._recipe_yaml,
            date=datetime.date.today().isoformat(),
            summary=summary,
            arms=tuple(self._arm_record(arm) for arm in self.recipe.arms),
            stages=self._times.records,
            pictures=tuple(gallery(self.data.labels, {s: self.images(s) for s in self._pictured()})),
            environment=environment(self.device, self.recipe.threads),
            baselines=tuple(rows),
            notes=tuple(self._notes(rows, summary.lines)),
            not_generated=self.recipe.not_generated,
            claims=tuple(Claim(**claim.model_dump()) for claim in self.recipe.claims),
            kinds={name: shift.kind for name, shift in self.recipe.data.shifts.items()},
            qualities=qualities,
        )
        self._tracking.outcome(record)
        return summary, write_report(record, self.out / self.recipe.name)

    def _pictured(self) -> list[str]:
        """The sources that a report shows beside each other."""
        return [REAL, *self.datasets, *sorted(self.recipe.sources() & {RETRIEVED, *self.data.extra})]

    def _notes(self, rows: list[BaselineModel], lines: Mapping[str, Line]) -> Iterator[str]:
        if len(self.recipe.seeds) < 3:
            seeds = "One training seed" if len(self.recipe.seeds) == 1 else "Two training seeds"
            yield f"{seeds}: differences between arms show what happened here and claim nothing in general."
        if not rows and not lines:
            yield "No baseline models: without them there is no line, and so no effective robustness."
        elif not rows:
            yield f"Baseline lines: {PUBLISHED}; intervals are over images and the lines' own errors."
        yield from self._no_line
        if RETRIEVED in self.recipe.sources() and self.datasets:
            wanted, got = len(next(iter(self.datasets.values())).images), len(self.retrieved(RETRIEVED))
            if got < wanted:
                yield f"Retrieval found {got:,} images for {wanted:,} generated ones: some classes ran short."

    def _arm_record(self, arm: ArmConfig) -> ArmRecord:
        train = self.recipe.train_of(arm)
        mixture = self.mixture(arm.mixture, train)
        network = f"{train.architecture}, split batch norm" if train.split_batchnorm else train.architecture
        steps = train.steps_for(len(mixture))
        return ArmRecord(arm.name, dict(mixture.counts), network, train.augmented, steps, train.batch_size)

    @cached_property
    def device(self) -> str:
        """The kind of device that this study runs on: cuda, mps or cpu."""
        return device_kind(self.recipe.device)


def _counts(counts: dict[str, int]) -> str:
    return " + ".join(f"{n:,} {name}" for name, n in counts.items())
