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
from genrobust.core import ZERO_SHOT, Artifact, digest, fetch_artifacts, find_clip
from genrobust.recipe import ZeroShotConfig
from genrobust.study.estimates import Cost
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.sources.checkpoints import Checkpoints
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
        checkpoints: Checkpoints,
        runs: Sequence[TrainingRun],
        zero_shot: ZeroShotConfig | None = None,
        needs: Sequence[Stage] = (),
    ) -> None:
        super().__init__(checkpoints.context, needs)
        self.checkpoints, self.runs, self.zero_shot = checkpoints, tuple(runs), zero_shot
        self.room = self.context.out / "predictions"

    def jobs(self) -> list[Job]:
        fetch_artifacts(self.room)
        jobs: dict[PredictedBy, Job] = {}
        for run in self.runs:
            checkpoint = self.checkpoints.of(run).folder
            by = self.predicted_by(checkpoint)
            jobs[by] = self._job(run, run.name, EVERY, by, weights_hash(checkpoint))
        for by, clip in self._clip.items():
            jobs[by] = self._job(ZERO_SHOT, ZERO_SHOT, ZERO_SHOT, by, clip.weights_hash)
        return list(jobs.values())

    def _job(self, key: TrainingRun | str, name: str, row: str, by: PredictedBy, weights: str) -> Job:
        sets = self.context.test_sets
        left = sum(len(sets[test]) for test, folder in self.folders(by).items() if not are_saved(folder, weights))
        return Job(key, f"the predictions of {name}", left, 1, row, self.room, sum(map(len, sets.values())))

    def artifacts(self, job: Job) -> list[Path]:
        made_by = self._clip if job.key == ZERO_SHOT else [self.predicted_by(self.checkpoints.of(job.key).folder)]
        return [folder for by in made_by for folder in self.folders(by).values()]

    def load(self) -> DoJobs:
        def predict(keys: Sequence[TrainingRun | str]) -> None:
            runs = [key for key in keys if isinstance(key, TrainingRun)]
            if runs:
                self.of(runs)
            if ZERO_SHOT in keys:
                self.of_zero_shot()

        return predict

    def cost(self, job: Job) -> Cost:
        if job.key == ZERO_SHOT:
            assert self.zero_shot is not None  # it lists such a job only then
            return Cost(1, of=f"CLIP {self.zero_shot.clip}")
        evaluate, planned = self.context.recipe.evaluate, self.checkpoints.of(job.key)
        trained_on = planned.settings.image_size
        scale = ((evaluate.image_size or trained_on) / trained_on) ** 2
        return Cost(scale * planned.size.multiply_adds * (1 + evaluate.flip))

    def of(self, runs: Sequence[TrainingRun]) -> list[SavedPredictions[str]]:
        """Return the predictions of classifiers on every test set; missing ones are made in this process."""
        folders = [self.checkpoints.of(run).folder for run in runs]
        for folder in folders:
            Artifact(folder).fetch()
        named = [self.predicted_by(folder) for folder in folders]
        settings = self.context.recipe.evaluate
        opened = {by: open_checkpoint(folder, settings) for by, folder in zip(named, folders, strict=True)}
        made = self._predict(opened)
        return [made[by] for by in named]

    def of_zero_shot(self) -> SavedPredictions[str]:
        """Return what the recipe's zero-shot CLIP answers on every test set; nothing where it has none."""
        return next(iter(self._predict(self._clip).values()), SavedPredictions({}))

    def _predict(self, opened: Mapping[PredictedBy, OpenClassifier]) -> dict[PredictedBy, SavedPredictions[str]]:
        context, recipe = self.context, self.context.recipe
        settings = recipe.evaluate.batch_size, recipe.device, recipe.threads
        return predict_sets(self.room, opened, context.test_sets, context.data.labels, *settings)

    @cached_property
    def _clip(self) -> dict[PredictedBy, OpenClassifier]:
        """The zero-shot CLIP, by what its predictions are named after; none where there is none."""
        if self.zero_shot is None:
            return {}
        recipe, labels = self.context.recipe, self.context.data.labels
        texts, size = self.context.class_texts, recipe.train.image_size
        opened = open_zero_shot(find_clip(self.zero_shot.clip), texts, labels.label_names, recipe.evaluate, size)
        return {PredictedBy("zero-shot", digest([opened.weights_hash, opened.preparation])): opened}

    def folders(self, by: PredictedBy) -> dict[str, Path]:
        """Return the folders of the predictions by a classifier, made or not, by test set."""
        labels, sets = self.context.data.labels, self.context.test_sets
        return {n: prediction_folder(self.room, by, prediction_inputs(by, n, s, labels)) for n, s in sets.items()}

    def predicted_by(self, checkpoint: Path) -> PredictedBy:
        """Return what the predictions of a checkpoint are named after."""
        word, _, _ = checkpoint.name.rpartition("-")
        return PredictedBy(word, digest([checkpoint.name, self.context.recipe.evaluate.protocol]))
