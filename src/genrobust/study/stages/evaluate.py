"""The stage that predicts: what classifiers and the zero-shot CLIP answer on the test sets of a study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genrobust.classifiers import hash_clip
from genrobust.core import ZERO_SHOT, digest, fetch, file_name, find_clip
from genrobust.recipe import TrainConfig, ZeroShotConfig
from genrobust.study.jobs import DoJobs, Job
from genrobust.study.rates import measured
from genrobust.study.sources import Sources
from genrobust.study.stage import Stage
from genrobust.study.stages.train import network_of
from genrobust.study.training_runs import TrainingRun

if TYPE_CHECKING:
    from genrobust.classifiers import OpenClassifier, SavedPredictions

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

    def __reduce__(self) -> tuple[object, ...]:
        return Evaluate, (self.sources, self.runs, self.zero_shot is not None)

    def jobs(self) -> list[Job]:
        jobs, total = {}, self.context.test_images
        for run in self.runs:
            folder = self._folder(self.sources.checkpoint(run))
            name, rate_key = f"the predictions of {run.name}", self._rate_key(self.sources.settings(run))
            jobs[folder] = Job(run, name, self._missing(folder), rate_key, 1, EVERY, folder, total)
        if self.zero_shot is not None:
            folder, rate_key = self._clip_folder(self.zero_shot), f"CLIP {self.zero_shot.clip}, {self.context.worker}"
            name = f"the predictions of {ZERO_SHOT}"
            jobs[folder] = Job(ZERO_SHOT, name, self._missing(folder), rate_key, 1, ZERO_SHOT, folder, total)
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

    def _rate_key(self, train: TrainConfig) -> str:
        evaluate = self.context.recipe.evaluate
        flipped = ", flipped too" if evaluate.flip else ""
        return f"{network_of(train)}, {evaluate.image_size or train.image_size} px{flipped}, {self.context.worker}"
