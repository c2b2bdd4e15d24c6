"""The stage that trains classifiers: each in a folder named after the hash of what it depends on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from genrobust.classifiers import read_checkpoint_info, saved_steps
from genrobust.core import FLOAT32, Artifact, UserError, count_taken
from genrobust.recipe import MixturePart
from genrobust.study.estimates import TRAIN, Cost
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.seen import seen_by_run
from genrobust.study.sources.checkpoints import Checkpoints, PlannedCheckpoint
from genrobust.study.stages.stage import Stage
from genrobust.study.training_runs import TrainingRun
from genrobust.train import Mixture

if TYPE_CHECKING:
    from genrobust.train import Watch


class Train(Stage):
    """Trains the classifiers of `runs`, whose images are made; those that ask for the same share a folder."""

    name = "train"
    title = "training"
    items = "training images"

    def __init__(self, checkpoints: Checkpoints, runs: Sequence[TrainingRun], needs: Sequence[Stage] = ()) -> None:
        super().__init__(checkpoints.context, needs)
        self.checkpoints, self.runs = checkpoints, tuple(runs)

    def jobs(self) -> list[Job]:
        jobs: list[Job] = []
        firsts: dict[Path, PlannedCheckpoint] = {}
        for planned in map(self.checkpoints.of, self.runs):
            planned.require_styles()
            firsts.setdefault(planned.folder, planned)
        listed = Counter(_row_heading(planned.run) for planned in firsts.values())
        for folder, planned in firsts.items():
            run, train, is_trained = planned.run, planned.settings, planned.is_trained
            counts = train.epochs is not None or train.probes == "only"
            steps = train.steps_for(self._count(run.parts) if counts else 0)
            probed = self._count(run.parts) + len(self.context.data.val) if train.probes == "first" else 0
            (heading, noun), count = _row_heading(run), listed[_row_heading(run)]
            job = Job(
                key=run,
                name=run.name,
                size=0 if is_trained else probed + steps * train.batch_size,
                workers=train.workers,
                row=f"{heading}, {count:,} {noun}" if count > 1 else run.name,
                folder=folder,
                total=steps,
                unit="steps",
                each=train.batch_size,
                saved=0 if is_trained else saved_steps(folder),
            )
            jobs.append(job)
        return sorted(jobs, key=lambda job: -job.size)  # the longest first, or one worker ends long after all

    def _count(self, parts: Sequence[MixturePart]) -> int:
        """The number of images of parts of a mixture, if filters and retrieval that are not done yet lose none."""
        counts = {part: self.checkpoints.images.known_counts(part).tolist() for part in parts}
        return sum(
            count_taken(count, p.per_class, p.fraction) for p, of_source in counts.items() for count in of_source
        )

    def announce(self, jobs: Sequence[Job]) -> None:
        single = sum(job.workers == 1 for job in jobs)
        together = min(self.workers, single)
        if together > 1:  # else each training says that it begins
            self.context.log(f"training {single} classifiers, {together} at a time")

    def do(self, todo: Sequence[Job]) -> None:
        super().do(todo)
        trained = {job.key for job in todo}
        for planned in (self.checkpoints.of(run) for run in self.runs if run not in trained):
            Artifact(planned.folder).clean()  # of a run that was killed when it had finished
            _require_same_images(planned)

    def load(self) -> DoJobs:
        def train(runs: Sequence[TrainingRun]) -> None:
            images, names = self.checkpoints.images, {part.source for run in runs for part in run.parts}
            for dataset in {dataset for name in names for dataset in images.of(name).datasets}:
                images.dataset(dataset).images.fetch_tars()
            for run in runs:
                self._train(self.checkpoints.of(run))

        return train

    def _train(self, planned: PlannedCheckpoint) -> None:
        """Train one classifier; of several processes that train it together, the main one alone logs."""
        from genrobust.train import TrainingJob, team_of, train as train_classifier

        context, mixture, team = self.context, planned.mixture(), team_of(planned.run.train.workers)
        unlogged = nullcontext(lambda step, metrics: None)
        with self._log_training(planned, mixture) if team.is_main else unlogged as watch:
            training = TrainingJob(
                mixture=mixture,
                val=context.data.val,
                labels=context.data.labels,
                config=planned.settings,
                seed=planned.run.seed,
                out=planned.folder,
                device=context.recipe.device,
                threads=context.recipe.threads,
                initial=planned.initial,
                inputs=planned.inputs,
                images=seen_by_run(planned).record(context.recipe.name, context.census.contents),
            )
            train_classifier(training, watch, team)

    @contextmanager
    def _log_training(self, planned: PlannedCheckpoint, mixture: Mixture) -> Iterator[Watch]:
        """Log what begins, time the training of the block, and yield what is given its metrics."""
        train, name = planned.settings, planned.run.name
        mixture.pack()  # on a node that has no copies yet
        Artifact(planned.folder).fetch()
        steps, counts = train.steps_for(len(mixture)), " + ".join(f"{n:,} {name}" for name, n in mixture.counts.items())
        self.context.log(f"training {name}: {steps} steps of {train.batch_size} on {counts}")
        with self.context.tracking.training(name, planned.folder) as watch:
            yield watch

    def cost(self, job: Job) -> Cost:
        """Return the cost of an image, forth and back, and of the checkpoint."""
        planned = self.checkpoints.of(job.key)
        train, size = planned.settings, planned.size
        saved_bytes = 4 * size.parameters * (2 if train.is_pretrained else 1)  # what it started from
        embeds = train.probes == "only"  # which is done in float32
        each, precision = size.multiply_adds * (1 if embeds else TRAIN), FLOAT32 if embeds else train.precision
        kind = ", ".join([train.architecture, train.method, f"{train.image_size} px", train.crop, train.augmented])
        return Cost(each, precision, kind=kind, disk=saved_bytes)


def _require_same_images(planned: PlannedCheckpoint) -> None:
    """Raise UserError where a classifier was trained on other images than those that its inputs now give."""
    if read_checkpoint_info(planned.folder).training.get("mixture") != planned.mixture().fingerprint:
        raise UserError(
            f"{planned.run.name}: the images in {', '.join(p.source for p in planned.run.parts)} are not those that "
            f"{planned.folder} was trained on: restore them, or delete that folder to train again, and the folders of "
            "arms that start from it and of filters that it judges"
        )


def _row_heading(run: TrainingRun) -> tuple[str, str]:
    """What the trainings of an arm, or of the baseline line, are listed under, and the noun of their number."""
    return ("baselines", "models") if run.baseline else (run.of, "seeds")
