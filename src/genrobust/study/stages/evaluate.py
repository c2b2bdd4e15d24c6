"""The stage that predicts: what classifiers and the zero-shot CLIP answer on the test sets of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from genrobust.classifiers import (
    ADAPTED_TO,
    OpenClassifier,
    PredictedBy,
    SavedPredictions,
    are_saved,
    open_checkpoint,
    open_zero_shot,
    predict_sets,
    prediction_folder,
    prediction_inputs,
    require_clip,
    weights_hash,
)
from genrobust.core import ZERO_SHOT, Artifact, digest, fetch_artifacts
from genrobust.recipe import ZeroShotConfig
from genrobust.study.estimates import Cost
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.sources.checkpoints import Checkpoints
from genrobust.study.stages.stage import Stage
from genrobust.study.training_runs import TrainingRun, arm_runs

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
            weights, made_by = weights_hash(self.checkpoints.of(run).folder), self._all_by(run)
            jobs[made_by[0]] = self._job(run, run.name, EVERY, made_by, weights)
        for by, clip in self._clip.items():
            jobs[by] = self._job(ZERO_SHOT, ZERO_SHOT, ZERO_SHOT, [by], clip.weights_hash)
        return list(jobs.values())

    def _job(self, key: TrainingRun | str, name: str, row: str, made_by: Sequence[PredictedBy], weights: str) -> Job:
        sets = self.context.test_sets
        folders = [(test, folder) for by in made_by for test, folder in self.folders(by).items()]
        left = sum(len(sets[test]) for test, folder in folders if not are_saved(folder, weights))
        return Job(
            key, f"the predictions of {name}", left, 1, row, self.room, sum(len(sets[test]) for test, _ in folders)
        )

    def artifacts(self, job: Job) -> list[Path]:
        made_by = list(self._clip) if job.key == ZERO_SHOT else self._all_by(job.key)
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
        kind = "corrupted" if {*self.context.data.derived} & {*self.context.test_sets} else ""  # made for each worker
        return Cost(scale * planned.size.multiply_adds * (1 + evaluate.flip), kind=kind)

    def of(self, runs: Sequence[TrainingRun], adapted: bool = False) -> list[SavedPredictions[str]]:
        """Return the predictions of classifiers on every test set; missing ones are made in this process.

        With `adapted`, they are those of the adapted classifiers, of the others as they are.
        """
        opened: dict[PredictedBy, OpenClassifier] = {}
        for run in runs:
            folder = self.checkpoints.of(run).folder
            Artifact(folder).fetch()
            classifier = open_checkpoint(folder, self.context.recipe.evaluate)
            opened |= {by: replace(classifier, adapted=i > 0) for i, by in enumerate(self._all_by(run))}
        made = self._predict(opened)
        return [made[self._all_by(run)[-1 if adapted else 0]] for run in runs]

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
        clip = require_clip(self.zero_shot.clip, "zero_shot.clip")
        opened = open_zero_shot(clip, texts, labels.label_names, recipe.evaluate, size)
        return {PredictedBy("zero-shot", digest([opened.weights_hash, opened.preparation])): opened}

    def folders(self, by: PredictedBy) -> dict[str, Path]:
        """Return the folders of the predictions by a classifier, made or not, by test set."""
        labels, sets = self.context.data.labels, self.context.test_sets
        return {n: prediction_folder(self.room, by, prediction_inputs(by, n, s, labels)) for n, s in sets.items()}

    def is_adapted(self, run: TrainingRun) -> bool:
        """Return whether it is adapted, too: it is an arm's, the recipe asks for it, and it has batch norms."""
        planned = self.checkpoints.of(run)
        wanted = self.context.recipe.evaluate.adapt is not None and planned.folder in self._of_arms
        return wanted and planned.size.batch_norms > 0

    @cached_property
    def _of_arms(self) -> set[Path]:
        """The checkpoints of arms, which baseline models and points of curves may share."""
        return {self.checkpoints.of(run).folder for run in arm_runs(self.context.recipe)}

    def _all_by(self, run: TrainingRun) -> list[PredictedBy]:
        """What the predictions of a classifier are named after, then those of the adapted one."""
        evaluate, name = self.context.recipe.evaluate, self.checkpoints.of(run).folder.name
        word, _, _ = name.rpartition("-")
        by = [PredictedBy(word, digest([name, evaluate.protocol]))]
        if self.is_adapted(run):
            by.append(PredictedBy(f"{word} adapted", digest([name, evaluate.protocol, evaluate.adapt, ADAPTED_TO])))
        return by
