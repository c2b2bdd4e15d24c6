"""A study: the stages in order, for arms x seeds, each in a folder named after the hash of what it depends on."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from genrobust import baselines as baseline_tables
from genrobust.config import ArmConfig, MixturePart, Recipe, TrainConfig
from genrobust.data import (
    ArmRecord,
    BaselineModel,
    ImageSet,
    Predictions,
    StageRecord,
    StudyData,
    StudyRecord,
    Summary,
    digest,
    slug,
)
from genrobust.errors import UserError
from genrobust.gallery import environment, gallery
from genrobust.rates import of_classifier, of_generator, remember_rate

if TYPE_CHECKING:
    from genrobust.prompts.plan import Plan
    from genrobust.train.mixture import Mixture


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of work of a study, for `genrobust show`: what it makes, where, how much, and how much is done.

    `left` is the number of images that are still to go through, `of` what their rate depends on (see `rates`).
    """

    stage: str
    what: str
    folder: Path | None
    total: int
    done: int
    unit: str
    left: int
    of: str


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
        self._stages: dict[str, StageRecord] = {}
        self._no_line: list[str] = []  # why shifts have none
        if "generated" in recipe.sources() and recipe.generator is None and recipe.data.generated is None:
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
    def plan(self) -> Plan:
        from genrobust.prompts.plan import Plan

        generate = self.recipe.generate
        return Plan(self.data.labels, generate.prompts, generate.per_class, self.recipe.data_seed)

    # ------------------------------------------------------------------------------------------- generate

    @cached_property
    def generated_folder(self) -> Path:
        """Where this recipe's generated dataset lies; the hash covers all that its bytes depend on."""
        from genrobust.generate.pipeline import weights_hash

        recipe = self.recipe
        assert recipe.generator is not None
        what = [
            self.plan.fingerprint,
            recipe.generator,
            weights_hash(recipe.generator),
            recipe.generate,
            recipe.threads,
            self._device,
        ]
        return self.out / "generated" / digest(what)

    @cached_property
    def generated(self) -> ImageSet:
        """The generated images, made now where they are not there yet."""
        from genrobust.generate.run import generate
        from genrobust.sources.folders import load_generated

        brought = load_generated(self.recipe.data)
        if brought is not None:
            return brought

        recipe = self.recipe
        assert recipe.generator is not None
        with self._timed("generate", "images", of_generator(recipe.generator, self._device)) as stage:
            stage.missing = self._missing_images()
            if stage.missing:
                self._say(f"generating {stage.missing} images into {self.generated_folder}")
            dataset = generate(
                self.plan,
                recipe.generator,
                recipe.generate,
                self.data.labels,
                self.generated_folder,
                device=recipe.device,
                threads=recipe.threads,
            )
        return dataset

    def _missing_images(self) -> int:
        from genrobust.store import missing_shards

        ranges = self.plan.shards(self.recipe.generate.shard_size)
        return sum(len(ranges[i]) for i in missing_shards(self.generated_folder, len(ranges)))

    # ------------------------------------------------------------------------------------------- train

    @cached_property
    def retrieved(self) -> ImageSet:
        """Images taken from the generator's training data: the generated arm's size-matched control.

        Without generated images to match, all of them.
        """
        from genrobust.sources.retrieval import retrieve

        pool = self.data.retrieval
        if pool is None:
            raise UserError("an arm mixes retrieved images, but this data has none: name a folder under data.retrieved")
        return retrieve(pool, self.generated) if "generated" in self.recipe.sources() else pool

    def images(self, source: str) -> ImageSet:
        """What the arms mix under the name `source`: real, generated or retrieved."""
        return self.data.train if source == "real" else self.generated if source == "generated" else self.retrieved

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
        folder = self._checkpoint_folder(mixture, train, seed)
        with self._timed("train", "training images", of_classifier(train, self._device)) as stage:
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

    def _checkpoint_folder(self, mixture: Mixture, train: TrainConfig, seed: int) -> Path:
        what = [mixture.fingerprint, self.data.val.fingerprint, train, seed, self.recipe.threads, self._device]
        return self.out / "checkpoints" / digest(what)

    # ------------------------------------------------------------------------------------------- evaluate

    def predictions(self, checkpoint: Path) -> dict[str, Predictions]:
        """The checkpoint's predictions on every test set of the study."""
        from genrobust.evaluate.predict import predict

        of = of_classifier(self.recipe.train, self._device)
        with self._timed("evaluate", "test images", of) as stage:
            stage.missing = self._missing_predictions(checkpoint)
            return predict(
                checkpoint,
                {name: self.data.tests[name] for name in self.tests},
                self.data.labels,
                self._predictions_folder(checkpoint),
                batch_size=self.recipe.evaluate.batch_size,
                device=self.recipe.device,
                threads=self.recipe.threads,
            )

    def _predictions_folder(self, checkpoint: Path) -> Path:
        return self.out / "predictions" / checkpoint.name

    def _missing_predictions(self, checkpoint: Path) -> int:
        """How many test images the checkpoint has not seen."""
        folder = self._predictions_folder(checkpoint)
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
        return summary, rows

    # ------------------------------------------------------------------------------------------- report

    def run(self) -> tuple[Summary, dict[str, Path]]:
        """All stages to the report; returns what was measured and the files written, by kind."""
        from genrobust.report.write import write_report

        if "generated" in self.recipe.sources():
            _ = self.generated
        summary, rows = self.summary()
        self._say("writing the report")
        mixed = ["real", *sorted(self.recipe.sources() - {"real"})]
        record = StudyRecord(
            title=self.recipe.title or self.recipe.name,
            question=self.recipe.question,
            command=self.command,
            recipe_yaml=yaml.safe_dump(self.recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
            date=datetime.date.today().isoformat(),
            summary=summary,
            arms=tuple(self._arm_record(arm) for arm in self.recipe.arms),
            stages=tuple(self._stages.values()),
            pictures=tuple(gallery(self.data.labels, {s: self.images(s) for s in mixed})),
            environment=environment(self._device, self.recipe.threads),
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
        if "retrieved" in self.recipe.sources() and "generated" in self.recipe.sources():
            wanted, got = len(self.generated), len(self.retrieved)
            if got < wanted:
                yield f"Retrieval found {got:,} images for {wanted:,} generated ones: some classes ran short."

    def _arm_record(self, arm: ArmConfig) -> ArmRecord:
        train = self.recipe.train_of(arm)
        counts = self.mixture(arm.mixture, train).counts
        return ArmRecord(arm.name, dict(counts), train.architecture, train.augmentation, train.steps, train.batch_size)

    # ------------------------------------------------------------------------------------------- what there is to do

    def steps(self) -> Iterator[Step]:
        """What this study makes, and how much of it is done, without doing any of it."""
        from genrobust.models import is_checkpoint

        if "generated" in self.recipe.sources() and self.recipe.data.generated is None:
            total = len(self.plan)
            missing = self._missing_images()
            of = of_generator(self.recipe.generator, self._device) if self.recipe.generator else ""
            yield Step(
                "generate", "images", self.generated_folder, total, total - missing, "images", left=missing, of=of
            )
            ready = missing == 0
        else:
            ready = True
        models = [
            (f"{arm.name}, seed {seed}", arm.mixture, self.recipe.train_of(arm), seed)
            for arm in self.recipe.arms
            for seed in self.recipe.seeds
        ]
        grid = baseline_tables.grid(self.recipe.train, self.recipe.robustness.grid)
        models += [(f"baseline {model.name}", model.parts, model.train, 0) for model in grid]
        all_images, unseen = 0, 0
        for what, parts, train, seed in models:
            known = ready or {part.source for part in parts} == {"real"}
            folder = self._checkpoint_folder(self.mixture(parts, train), train, seed) if known else None
            done = train.steps if folder is not None and is_checkpoint(folder) else 0
            left, of = (train.steps - done) * train.batch_size, of_classifier(train, self._device)
            yield Step("train", what, folder, train.steps, done, "steps", left, of)
            images = sum(len(self.data.tests[name]) for name in self.tests)
            unseen += images if folder is None else self._missing_predictions(folder)
            all_images += images
        of = of_classifier(self.recipe.train, self._device)
        yield Step("evaluate", "every classifier", None, all_images, all_images - unseen, "images", unseen, of)

    @property
    def _device(self) -> str:
        from genrobust.devices import resolve_device

        return resolve_device(self.recipe.device).type

    # ------------------------------------------------------------------------------------------- timing

    @contextmanager
    def _timed(self, stage: str, unit: str, of: str) -> Iterator[_Timer]:
        timer = _Timer()
        began = time.monotonic()
        yield timer
        spent = time.monotonic() - began if timer.missing else 0.0
        before = self._stages.get(stage, StageRecord(stage, 0.0, 0, unit, True))
        now = StageRecord(
            stage, before.seconds + spent, before.items + timer.missing, unit, before.reused and not spent
        )
        self._stages[stage] = now
        if spent and not timer.resumed:
            remember_rate(self.out, stage, of, timer.missing / spent)


@dataclass(slots=True)
class _Timer:
    missing: int = 0  # items that the stage has to make
    resumed: bool = False  # some of them were made by an earlier run, so the time tells no rate


def _counts(counts: dict[str, int]) -> str:
    return " + ".join(f"{n:,} {name}" for name, n in counts.items())
