"""The stage that predicts: what classifiers and the zero-shot CLIP answer on the test sets of a study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genrobust.core import ZERO_SHOT, Artifact, ImageSet, digest, fetch_artifacts, find_clip
from genrobust.recipe import TrainConfig, ZeroShotConfig
from genrobust.study.jobs import DoJobs, Job
from genrobust.study.rates import measured
from genrobust.study.sources import Sources
from genrobust.study.stage import Stage
from genrobust.study.stages.train import network_of
from genrobust.study.training_runs import TrainingRun

if TYPE_CHECKING:
    from genrobust.classifiers import OpenClassifier, PredictedBy, SavedPredictions

EVERY = "every classifier"  # as they are listed
TRIED = 16  # classifiers of a trial, at most


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
        self.room = self.context.out / "predictions"

    def __reduce__(self) -> tuple[object, ...]:
        return Evaluate, (self.sources, self.runs, self.zero_shot is not None)

    def jobs(self) -> list[Job]:
        from genrobust.classifiers import weights_hash

        jobs, total = {}, self.context.test_images
        fetch_artifacts(self.room)
        for run in self.runs:
            checkpoint = self.sources.checkpoint(run)
            by, left = self._by(checkpoint), self._missing(self._by(checkpoint), weights_hash(checkpoint))
            name, rate_key = f"the predictions of {run.name}", self._rate_key(self.sources.settings(run))
            jobs[by] = Job(run, name, left, rate_key, 1, EVERY, self.room, total)
        if self.zero_shot is not None:
            by, rate_key = self._by_clip(self.zero_shot), f"CLIP {self.zero_shot.clip}, {self.context.worker}"
            name, left = f"the predictions of {ZERO_SHOT}", self._missing(by, self._zero_shot(self.zero_shot).weights)
            jobs[by] = Job(ZERO_SHOT, name, left, rate_key, 1, ZERO_SHOT, self.room, total)
        return list(jobs.values())

    def load(self) -> DoJobs:
        left = {job.key: job for job in self.jobs()}

        def predict(keys: Sequence[TrainingRun | str]) -> None:
            runs = [key for key in keys if isinstance(key, TrainingRun)]
            if runs:
                rate_keys = {self._rate_key(self.sources.settings(run)) for run in runs}
                images = sum(left[run].size for run in runs if run in left) if len(rate_keys) == 1 else 0
                with measured(self.context.out, self.name, rate_keys.pop(), images):
                    self._predict([self.sources.checkpoint(run) for run in runs])
            if ZERO_SHOT in keys:
                with measured(self.context.out, self.name, left[ZERO_SHOT].rate_key, left[ZERO_SHOT].size):
                    self.of_zero_shot()

        return predict

    def of(self, run: TrainingRun) -> SavedPredictions[str]:
        """Return the predictions of a run's classifier on every test set; missing ones are made in this process."""
        checkpoint = self.sources.checkpoint(run)
        return self._predict([checkpoint])[checkpoint]

    def _predict(self, checkpoints: Sequence[Path]) -> dict[Path, SavedPredictions[str]]:
        from genrobust.classifiers import open_checkpoint

        for checkpoint in checkpoints:
            Artifact(checkpoint).fetch()
        opened = {self._by(one): open_checkpoint(one, self.context.recipe.evaluate) for one in checkpoints}
        made = self._on_tests(opened)
        return {checkpoint: made[self._by(checkpoint)] for checkpoint in checkpoints}

    def _on_tests(self, opened: Mapping[PredictedBy, OpenClassifier]) -> dict[PredictedBy, SavedPredictions[str]]:
        from genrobust.classifiers import predict_sets

        recipe, labels = self.context.recipe, self.context.data.labels
        settings = recipe.evaluate.batch_size, recipe.device, recipe.threads
        return predict_sets(self.room, opened, self._sets, labels, *settings)

    def of_zero_shot(self) -> SavedPredictions[str]:
        """Return what the recipe's zero-shot CLIP answers on every test set; nothing where it has none."""
        from genrobust.classifiers import SavedPredictions

        if self.zero_shot is None:
            return SavedPredictions({})
        by = self._by_clip(self.zero_shot)
        return self._on_tests({by: self._zero_shot(self.zero_shot)})[by]

    def _zero_shot(self, zero_shot: ZeroShotConfig) -> OpenClassifier:
        from genrobust.classifiers import open_zero_shot

        recipe, labels = self.context.recipe, self.context.data.labels
        texts, size = self.sources.class_texts(), recipe.train.image_size
        return open_zero_shot(find_clip(zero_shot.clip), texts, labels.ids, recipe.evaluate, size)

    def trial(self, job: Job, folder: Path) -> None:
        """Let the zero-shot CLIP, or as many untrained classifiers as a worker gets, answer on the test sets."""
        from genrobust.classifiers import CheckpointInfo, create_classifier, save_checkpoint

        other = Evaluate(Sources(self.context.elsewhere(folder)), (), zero_shot=True)
        if job.key == ZERO_SHOT:
            other.of_zero_shot()
            return
        train, labels = self.sources.settings(job.key), self.context.data.labels
        network = create_classifier(train.architecture, len(labels), train.image_size, train.network_kwargs)
        info = CheckpointInfo(train.architecture, dict(train.network_kwargs), labels.ids, train.image_size, {})
        left = sum(1 for one in self.jobs() if one.size and one.key != ZERO_SHOT)
        untrained = [folder / f"untrained {i}" for i in range(min(math.ceil(left / self.workers), TRIED))]
        for one in untrained:
            save_checkpoint(one, network, info)
        other._predict(untrained)

    @property
    def _sets(self) -> dict[str, ImageSet]:
        return {name: self.context.data.tests[name] for name in self.context.tests}

    def _missing(self, by: PredictedBy, weights: str) -> int:
        """How many test images have no predictions by a classifier of these `weights`."""
        from genrobust.classifiers import are_saved

        left = [name for name, folder in self.folders(by).items() if not are_saved(folder, weights)]
        return sum(len(self._sets[name]) for name in left)

    def folders(self, by: PredictedBy) -> dict[str, Path]:
        """Return the folders of the predictions by a classifier, made or not, by test set."""
        from genrobust.classifiers import prediction_folder, prediction_inputs

        inputs = {n: prediction_inputs(by, n, s, self.context.data.labels) for n, s in self._sets.items()}
        return {name: prediction_folder(self.room, by, of_set) for name, of_set in inputs.items()}

    def _by(self, checkpoint: Path) -> PredictedBy:
        from genrobust.classifiers import PredictedBy

        word, _, _ = checkpoint.name.rpartition("-")
        return PredictedBy(word, digest([checkpoint.name, self.context.recipe.evaluate.protocol]))

    def _by_clip(self, zero_shot: ZeroShotConfig) -> PredictedBy:
        from genrobust.classifiers import PredictedBy

        opened = self._zero_shot(zero_shot)
        return PredictedBy("zero-shot", digest([opened.weights, opened.prepared]))

    def _rate_key(self, train: TrainConfig) -> str:
        evaluate = self.context.recipe.evaluate
        flipped = ", flipped too" if evaluate.flip else ""
        return f"{network_of(train)}, {evaluate.image_size or train.image_size} px{flipped}, {self.context.worker}"
