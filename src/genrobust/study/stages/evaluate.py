"""The stage that predicts: what classifiers and the zero-shot CLIP answer on the test sets of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genrobust.classifiers import hash_clip
from genrobust.core import ZERO_SHOT, digest, fetch, file_name, find_clip
from genrobust.recipe import ZeroShotConfig
from genrobust.study.jobs import DoJobs, Job
from genrobust.study.rates import Cost
from genrobust.study.sources import Sources
from genrobust.study.speed import ANSWER, DECODE, clip_cost, network_size
from genrobust.study.stage import Stage
from genrobust.study.training_runs import TrainingRun

if TYPE_CHECKING:
    from genrobust.classifiers import OpenClassifier, SavedPredictions

EVERY = "every classifier"  # as they are listed


class Evaluate(Stage):
    """Makes the predictions of the classifiers of `runs`, and with `zero_shot` those of the recipe's CLIP."""

    name = "evaluate"
    title = "evaluating"
    items = "test images"
    together = True  # each image is decoded once for all classifiers of a worker

    def __init__(
        self, sources: Sources, runs: Sequence[TrainingRun], zero_shot: bool = False, needs: Sequence[Stage] = ()
    ) -> None:
        super().__init__(sources.context, needs)
        self.sources, self.runs = sources, tuple(runs)
        self.zero_shot = self.context.recipe.zero_shot if zero_shot else None

    def __reduce__(self) -> tuple[object, ...]:
        return Evaluate, (self.sources, self.runs, self.zero_shot is not None)

    def jobs(self) -> list[Job]:
        jobs, total = {}, self.context.test_images
        for run in self.runs:
            folder = self._folder(self.sources.checkpoint(run))
            name = f"the predictions of {run.name}"
            jobs[folder] = Job(run, name, self._missing(folder), 1, EVERY, folder, total)
        if self.zero_shot is not None:
            folder, name = self._clip_folder(self.zero_shot), f"the predictions of {ZERO_SHOT}"
            jobs[folder] = Job(ZERO_SHOT, name, self._missing(folder), 1, ZERO_SHOT, folder, total)
        return list(jobs.values())

    def load(self) -> DoJobs:
        def predict(keys: Sequence[TrainingRun | str]) -> None:
            runs = [key for key in keys if isinstance(key, TrainingRun)]
            if runs:
                self._predict([self.sources.checkpoint(run) for run in runs])
            if ZERO_SHOT in keys:
                self.of_zero_shot()

        return predict

    def cost(self, job: Job) -> Cost:
        if job.key == ZERO_SHOT:
            assert self.zero_shot is not None  # it lists such a job only then
            return clip_cost(self.zero_shot.clip)
        context, evaluate, train = self.context, self.context.recipe.evaluate, self.sources.settings(job.key)
        size = network_size(context.out, train, len(context.data.labels))
        scale = ((evaluate.image_size or train.image_size) / train.image_size) ** 2
        return Cost(ANSWER * scale * size.multiply_adds * (1 + evaluate.flip) + DECODE)

    def of(self, run: TrainingRun) -> SavedPredictions[str]:
        """Return the predictions of a run's classifier on every test set; missing ones are made in this process."""
        checkpoint = self.sources.checkpoint(run)
        return self._predict([checkpoint])[checkpoint]

    def _predict(self, checkpoints: Sequence[Path]) -> dict[Path, SavedPredictions[str]]:
        from genrobust.classifiers import fetch_checkpoint, open_checkpoint

        for checkpoint in checkpoints:
            fetch_checkpoint(checkpoint)
        opened = {self._folder(one): open_checkpoint(one, self.context.recipe.evaluate) for one in checkpoints}
        made = self._on_tests(opened)
        return {checkpoint: made[self._folder(checkpoint)] for checkpoint in checkpoints}

    def _on_tests(self, opened: Mapping[Path, OpenClassifier]) -> dict[Path, SavedPredictions[str]]:
        from genrobust.classifiers import predict_sets

        context, recipe = self.context, self.context.recipe
        sets = {name: context.data.tests[name] for name in context.tests}
        return predict_sets(
            opened, sets, context.data.labels, recipe.evaluate.batch_size, recipe.device, recipe.threads
        )

    def of_zero_shot(self) -> SavedPredictions[str]:
        """Return what the recipe's zero-shot CLIP answers on every test set; nothing where it has none."""
        from genrobust.classifiers import SavedPredictions, open_zero_shot

        if self.zero_shot is None:
            return SavedPredictions({})
        recipe, labels = self.context.recipe, self.context.data.labels
        clip, size, folder = find_clip(self.zero_shot.clip), recipe.train.image_size, self._clip_folder(self.zero_shot)
        opened = open_zero_shot(clip, self.sources.class_texts(), labels.ids, recipe.evaluate, size)
        return self._on_tests({folder: opened})[folder]

    def _missing(self, folder: Path) -> int:
        """How many test images have no predictions in `folder`."""
        from genrobust.classifiers import are_of

        fetch(folder, "*.npz")
        sets = {name: self.context.data.tests[name] for name in self.context.tests}
        left = [s for name, s in sets.items() if not are_of(folder / f"{file_name(name)}.npz", s.fingerprint)]
        return sum(map(len, left))

    def _folder(self, checkpoint: Path) -> Path:
        how = self.context.recipe.evaluate.protocol
        return self.context.out / "predictions" / (digest([checkpoint.name, how]) if how else checkpoint.name)

    def _clip_folder(self, zero_shot: ZeroShotConfig) -> Path:
        recipe = self.context.recipe
        what = [hash_clip(find_clip(zero_shot.clip)), recipe.generate.prompts]
        what += filter(None, [recipe.evaluate.protocol])
        return self.context.out / "predictions" / digest(what)
