"""The stage that predicts: what classifiers and the zero-shot CLIP answer on the test sets of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from genrobust.classifiers import (
    OpenClassifier,
    PredictedBy,
    SavedPredictions,
    are_saved,
    open_checkpoint,
    open_zero_shot,
    predict_sets,
    prediction_folder,
    prediction_inputs,
    weights_hash,
)
from genrobust.core import ZERO_SHOT, Artifact, ImageSet, digest, fetch_artifacts, find_clip
from genrobust.recipe import ZeroShotConfig
from genrobust.study.estimates import Cost, network_size
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.sources import Sources
from genrobust.study.stages.stage import Stage
from genrobust.study.training_runs import TrainingRun

EVERY = "every classifier"  # as they are listed


class Evaluate(Stage):
    """Makes the predictions of the classifiers of `runs`, and of the CLIP `zero_shot`, where there is one."""

    name = "evaluate"
    title = "evaluating"
    items = "test images"
    together = True  # each image is decoded once for all classifiers of a worker

    def __init__(
        self,
        sources: Sources,
        runs: Sequence[TrainingRun],
        zero_shot: ZeroShotConfig | None = None,
        needs: Sequence[Stage] = (),
    ) -> None:
        super().__init__(sources.context, needs)
        self.sources, self.runs, self.zero_shot = sources, tuple(runs), zero_shot
        self.room = self.context.out / "predictions"

    def jobs(self) -> list[Job]:
        jobs, total = {}, sum(len(self.context.data.tests[name]) for name in self.context.tests)
        fetch_artifacts(self.room)
        for run in self.runs:
            checkpoint = self.sources.checkpoint(run)
            by, name = self.predicted_by(checkpoint), f"the predictions of {run.name}"
            jobs[by] = Job(run, name, self._count_missing(by, weights_hash(checkpoint)), 1, EVERY, self.room, total)
        for by, clip in self._clip.items():
            left, name = self._count_missing(by, clip.weights_hash), f"the predictions of {ZERO_SHOT}"
            jobs[by] = Job(ZERO_SHOT, name, left, 1, ZERO_SHOT, self.room, total)
        return list(jobs.values())

    def artifacts(self, job: Job) -> list[Path]:
        made_by = self._clip if job.key == ZERO_SHOT else [self.predicted_by(self.sources.checkpoint(job.key))]
        return [folder for by in made_by for folder in self.folders(by).values()]

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
            return Cost(1, of=f"CLIP {self.zero_shot.clip}")
        context, evaluate, train = self.context, self.context.recipe.evaluate, self.sources.settings(job.key)
        size = network_size(context.out, train, len(context.data.labels))
        scale = ((evaluate.image_size or train.image_size) / train.image_size) ** 2
        return Cost(scale * size.multiply_adds * (1 + evaluate.flip))

    def of(self, run: TrainingRun) -> SavedPredictions[str]:
        """Return the predictions of a run's classifier on every test set; missing ones are made in this process."""
        checkpoint = self.sources.checkpoint(run)
        return self._predict([checkpoint])[checkpoint]

    def _predict(self, checkpoints: Sequence[Path]) -> dict[Path, SavedPredictions[str]]:
        for checkpoint in checkpoints:
            Artifact(checkpoint).fetch()
        opened = {
            self.predicted_by(checkpoint): open_checkpoint(checkpoint, self.context.recipe.evaluate)
            for checkpoint in checkpoints
        }
        made = self._predict_tests(opened)
        return {checkpoint: made[self.predicted_by(checkpoint)] for checkpoint in checkpoints}

    def _predict_tests(self, opened: Mapping[PredictedBy, OpenClassifier]) -> dict[PredictedBy, SavedPredictions[str]]:
        recipe, labels = self.context.recipe, self.context.data.labels
        settings = recipe.evaluate.batch_size, recipe.device, recipe.threads
        return predict_sets(self.room, opened, self._sets, labels, *settings)

    def of_zero_shot(self) -> SavedPredictions[str]:
        """Return what the recipe's zero-shot CLIP answers on every test set; nothing where it has none."""
        made = self._predict_tests(self._clip) if self._clip else {}
        return next(iter(made.values()), SavedPredictions({}))

    @cached_property
    def _clip(self) -> dict[PredictedBy, OpenClassifier]:
        """The zero-shot CLIP, by what its predictions are named after; none where there is none."""
        if self.zero_shot is None:
            return {}
        recipe, labels = self.context.recipe, self.context.data.labels
        texts, size = self.sources.class_texts(), recipe.train.image_size
        opened = open_zero_shot(find_clip(self.zero_shot.clip), texts, labels.label_names, recipe.evaluate, size)
        return {PredictedBy("zero-shot", digest([opened.weights_hash, opened.preparation])): opened}

    @property
    def _sets(self) -> dict[str, ImageSet]:
        return {name: self.context.data.tests[name] for name in self.context.tests}

    def _count_missing(self, by: PredictedBy, weights: str) -> int:
        """How many test images have no predictions by a classifier of these `weights`."""
        left = [name for name, folder in self.folders(by).items() if not are_saved(folder, weights)]
        return sum(len(self._sets[name]) for name in left)

    def folders(self, by: PredictedBy) -> dict[str, Path]:
        """Return the folders of the predictions by a classifier, made or not, by test set."""
        inputs = {n: prediction_inputs(by, n, s, self.context.data.labels) for n, s in self._sets.items()}
        return {name: prediction_folder(self.room, by, of_set) for name, of_set in inputs.items()}

    def predicted_by(self, checkpoint: Path) -> PredictedBy:
        """Return what the predictions of a checkpoint are named after."""
        word, _, _ = checkpoint.name.rpartition("-")
        return PredictedBy(word, digest([checkpoint.name, self.context.recipe.evaluate.protocol]))
