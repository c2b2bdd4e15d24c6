"""A study: the stages in order, for arms x seeds, each in a folder named after the hash of what it depends on."""

from __future__ import annotations

import datetime
import io
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from PIL import Image

from genrobust import baselines as baseline_tables
from genrobust.config import ArmConfig, MixturePart, Recipe, TrainConfig
from genrobust.data import (
    ArmRecord,
    BaselineModel,
    ImageSet,
    Picture,
    Predictions,
    StageRecord,
    StudyData,
    StudyRecord,
    Summary,
    digest,
    slug,
)
from genrobust.errors import UserError
from genrobust.files import make_folder, replacing

if TYPE_CHECKING:
    from genrobust.prompts.plan import Plan
    from genrobust.train.mixture import Mixture

GALLERY_CLASSES = 8  # classes shown in a report's gallery
GALLERY_PER_ORIGIN = 7  # images shown of each class from each source: one a style, where there are seven


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of work of a study, for `genrobust show`: what it makes, where, how much, and how much is done."""

    stage: str
    what: str
    folder: Path | None
    total: int
    done: int
    unit: str


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
        with self._timed("generate", "images") as stage:
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

    def mixture(self, parts: tuple[MixturePart, ...], train: TrainConfig) -> Mixture:
        """The images that an arm trains on."""
        from genrobust.train.mixture import Mixture, Part

        sets = {
            "real": lambda: self.data.train,
            "generated": lambda: self.generated,
            "retrieved": lambda: self.retrieved,
        }
        return Mixture(
            [Part(p.source, sets[p.source](), p.weight, p.per_class, p.fraction) for p in parts],
            train.batch_size,
            train.image_size,
        )

    def checkpoint(self, arm: ArmConfig, seed: int) -> Path:
        """The trained classifier of one arm and seed: a folder."""
        return self._train(f"{arm.name}, seed {seed}", arm.mixture, self.recipe.train_of(arm), seed)

    def _train(self, what: str, parts: tuple[MixturePart, ...], train: TrainConfig, seed: int) -> Path:
        from genrobust.models import is_checkpoint
        from genrobust.train.loop import train as train_classifier

        mixture = self.mixture(parts, train)
        recipe = self.recipe
        folder = self._checkpoint_folder(mixture, train, seed)
        with self._timed("train", "training images") as stage:
            stage.missing = 0 if is_checkpoint(folder) else train.steps * train.batch_size
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

        sets = {name: self.data.tests[name] for name in self.tests}
        with self._timed("evaluate", "test images") as stage:
            folder = self.out / "predictions" / checkpoint.name
            stage.missing = sum(len(s) for n, s in sets.items() if not (folder / f"{slug(n)}.npz").exists())
            return predict(
                checkpoint,
                sets,
                self.data.labels,
                folder,
                batch_size=self.recipe.evaluate.batch_size,
                device=self.recipe.device,
                threads=self.recipe.threads,
            )

    # ------------------------------------------------------------------------------------------- score

    def baseline_rows(self) -> list[BaselineModel]:
        """The baseline models: those of the table, or those of a grid trained now."""
        settings = self.recipe.robustness
        if settings.grid == 0:
            rows = baseline_tables.read_table(settings.baselines) if settings.baselines else []
            return [r for r in rows if r.test_set in self.shifts]
        from genrobust.robustness.summary import summarize

        found: dict[tuple[str, int, str], Predictions] = {}
        for model in baseline_tables.grid(self.recipe.train, settings.grid):
            part = MixturePart(source="real", fraction=None if model.fraction == 1 else model.fraction)
            folder = self._train(f"baseline {model.name}", (part,), model.train, seed=0)
            found |= {(model.name, 0, test): p for test, p in self.predictions(folder).items()}
        first = next(iter(found))[0]
        summary = summarize(found, [], self.data.clean, self.shifts, first, settings.transform, bootstrap=10)
        return baseline_tables.rows_of(summary)

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
        record = StudyRecord(
            title=self.recipe.title or self.recipe.name,
            question=self.recipe.question,
            command=self.command,
            recipe_yaml=yaml.safe_dump(self.recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
            date=datetime.date.today().isoformat(),
            summary=summary,
            arms=tuple(self._arm_record(arm) for arm in self.recipe.arms),
            stages=tuple(self._stages.values()),
            pictures=tuple(self._pictures()),
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
        if "retrieved" in self.recipe.sources() and "generated" in self.recipe.sources():
            wanted, got = len(self.generated), len(self.retrieved)
            if got < wanted:
                yield f"Retrieval found {got:,} images for {wanted:,} generated ones: some classes ran short."

    def _arm_record(self, arm: ArmConfig) -> ArmRecord:
        train = self.recipe.train_of(arm)
        counts = self.mixture(arm.mixture, train).counts
        return ArmRecord(arm.name, dict(counts), train.architecture, train.augmentation, train.steps, train.batch_size)

    def _pictures(self) -> Iterator[Picture]:
        sources = [("real", self.data.train)]
        if "generated" in self.recipe.sources():
            sources.append(("generated", self.generated))
        if "retrieved" in self.recipe.sources():
            sources.append(("retrieved", self.retrieved))
        classes = self.data.labels.classes
        stride = max(1, len(classes) // GALLERY_CLASSES)
        for label in range(0, len(classes), stride)[:GALLERY_CLASSES]:
            for origin, images in sources:
                for index in _one_of_each_style(images, label, GALLERY_PER_ORIGIN):
                    png = io.BytesIO()
                    image = images.image(index)
                    image.thumbnail((128, 128), Image.Resampling.LANCZOS)
                    image.save(png, "PNG")
                    yield Picture(png.getvalue(), origin, classes[label].name, images.styles[index], images.keys[index])

    # ------------------------------------------------------------------------------------------- what there is to do

    def steps(self) -> Iterator[Step]:
        """What this study makes, and how much of it is done, without doing any of it."""
        if "generated" in self.recipe.sources() and self.recipe.data.generated is None:
            total = len(self.plan)
            missing = self._missing_images()
            yield Step("generate", "generated images", self.generated_folder, total, total - missing, "images")
            ready = missing == 0
        else:
            ready = True
        for arm in self.recipe.arms:
            needs = {p.source for p in arm.mixture} - {"real"}
            train = self.recipe.train_of(arm)
            for seed in self.recipe.seeds:
                folder, done = None, 0
                if ready or not needs:
                    folder, done = self._find(arm, train, seed)
                yield Step("train", f"{arm.name}, seed {seed}", folder, train.steps, done, "steps")
        settings = self.recipe.robustness
        if settings.grid:
            yield Step("train", f"grid of {settings.grid} baseline models", None, settings.grid, 0, "models")

    def _find(self, arm: ArmConfig, train: TrainConfig, seed: int) -> tuple[Path, int]:
        from genrobust.models import is_checkpoint

        folder = self._checkpoint_folder(self.mixture(arm.mixture, train), train, seed)
        return folder, train.steps if is_checkpoint(folder) else 0

    @property
    def _device(self) -> str:
        from genrobust.devices import resolve_device

        return resolve_device(self.recipe.device).type

    # ------------------------------------------------------------------------------------------- timing

    @contextmanager
    def _timed(self, stage: str, unit: str) -> Iterator[_Timer]:
        timer = _Timer()
        began = time.monotonic()
        yield timer
        spent = time.monotonic() - began if timer.missing else 0.0
        before = self._stages.get(stage, StageRecord(stage, 0.0, 0, unit, True))
        now = StageRecord(
            stage, before.seconds + spent, before.items + timer.missing, unit, before.reused and not spent
        )
        self._stages[stage] = now
        if spent:
            _remember_rate(self.out, stage, timer.missing / spent, unit)


@dataclass(slots=True)
class _Timer:
    missing: int = 0  # items that the stage has to make


RATES = "rates.json"


def _remember_rate(out: Path, stage: str, rate: float, unit: str) -> None:
    make_folder(out)
    rates = measured_rates(out) | {stage: {"per_second": rate, "unit": unit}}
    with replacing(out / RATES) as file:
        file.write(json.dumps(rates, indent=1).encode())


def measured_rates(out: Path) -> dict[str, dict[str, float | str]]:
    """What the stages last did a second in this output folder, by stage; empty before the first."""
    try:
        return dict(json.loads((out / RATES).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def environment(device: str, threads: int) -> dict[str, str]:
    """Versions and machine, for a report: no host name, no path."""
    packages = ("genrobust", "torch", "timm", "diffusers", "transformers")
    facts = {name: metadata.version(name) for name in packages}
    cores = os.cpu_count() or 1
    return facts | {
        "Python": platform.python_version(),
        "machine": f"{cores} CPU cores, {platform.machine()}, {platform.system()}",
        "device": f"{device}, {threads} threads",
    }


def _counts(counts: dict[str, int]) -> str:
    return " + ".join(f"{n:,} {name}" for name, n in counts.items())


def _one_of_each_style(images: ImageSet, label: int, most: int) -> list[int]:
    """Indices of images of class `label`: the first of each style, then further ones, `most` at the most."""
    here = [i for i, of in enumerate(images.labels) if of == label]
    firsts = list({images.styles[i]: i for i in reversed(here)}.values())[::-1]
    chosen = firsts + [i for i in here if i not in firsts]
    return sorted(chosen[:most], key=lambda i: images.styles[i])
