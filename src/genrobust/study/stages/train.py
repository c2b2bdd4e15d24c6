"""The stage that trains classifiers: each in a folder named after the hash of what it depends on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from genrobust.classifiers import read_checkpoint_info, saved_steps
from genrobust.core import ArmRecord, Artifact, UserError, count_taken, digest
from genrobust.recipe import MixturePart
from genrobust.study.estimates import TRAIN, Cost, network_size
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.sources import Sources
from genrobust.study.stages.stage import Stage
from genrobust.study.training_runs import TrainingRun
from genrobust.train import Mixture, Source

if TYPE_CHECKING:
    from genrobust.train import Watch

LENGTH = {"steps", "epochs", "warmup_steps", "warmup_epochs", "validate_every", "save_every"}
STATE_COPIES = 5  # of the weights in a training state: model, average, best, and the optimizer's two moments


class Train(Stage):
    """Trains the classifiers of `runs`, whose images are made; those that ask for the same share a folder."""

    name = "train"
    title = "training"
    items = "training images"

    def __init__(self, sources: Sources, runs: Sequence[TrainingRun], needs: Sequence[Stage] = ()) -> None:
        super().__init__(sources.context, needs)
        self.sources, self.runs = sources, tuple(runs)

    def jobs(self) -> list[Job]:
        jobs: list[Job] = []
        firsts: dict[Path, TrainingRun] = {}
        for run in self.runs:
            self.sources.require_styles(run)
            firsts.setdefault(self.sources.checkpoint(run), run)
        listed = Counter(map(_row_heading, firsts.values()))
        for folder, run in firsts.items():
            train = self.sources.settings(run)
            counts = train.epochs is not None or train.probes == "only"
            steps = train.steps_for(self._count(run.parts) if counts else 0)
            trained = is_trained(folder)
            probed = self._count(run.parts) + len(self.context.data.val) if train.probes == "first" else 0
            labeled = self._count([part for part in run.parts if part.labels])
            (heading, noun), count = _row_heading(run), listed[_row_heading(run)]
            row = f"{heading}, {count:,} {noun}" if count > 1 else run.name
            job = Job(
                key=run,
                name=run.name,
                size=0 if trained else probed + labeled + steps * train.batch_size,
                workers=train.workers,
                row=row,
                folder=folder,
                total=steps,
                unit="steps",
                each=train.batch_size,
                saved=0 if trained else saved_steps(folder),
            )
            jobs.append(job)
        return sorted(jobs, key=lambda job: -job.size)  # the longest first, or one worker ends long after all

    def _count(self, parts: Sequence[MixturePart]) -> int:
        """The number of images of parts of a mixture, if filters and retrieval that are not done yet lose none."""
        counts = {part: self.sources.known_counts(part.source).tolist() for part in parts}
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
        for run in self.runs:
            if run not in trained:
                folder = self.sources.checkpoint(run)
                Artifact(folder).clean()  # of a run that was killed when it had finished
                self._require_same_images(run, folder)
                with self.context.tracking.training(run.name, folder):
                    pass  # a tracker that came later logs what its training was

    def _require_same_images(self, run: TrainingRun, folder: Path) -> None:
        """Raise UserError where a classifier was trained on other images than those that its inputs now give."""
        if read_checkpoint_info(folder).training.get("mixture") != self.mixture(run).fingerprint:
            raise UserError(
                f"{run.name}: the images in {', '.join(p.source for p in run.parts)} are not those that {folder} was "
                "trained on: restore them, or delete that folder to train again"
            )

    def load(self) -> DoJobs:
        def train(runs: Sequence[TrainingRun]) -> None:
            names = {part.source for run in runs for part in run.parts}
            for dataset in {d.name: d for name in names for d in self.sources.reads(name)}.values():
                dataset.fetch_tars()
            for run in runs:
                self._train(run)

        return train

    def _train(self, run: TrainingRun) -> None:
        """Train one classifier; of several processes that train it together, the main one alone logs."""
        from genrobust.train import team_of, train as train_classifier

        context, mixture, team = self.context, self.mixture(run), team_of(run.train.workers)
        folder = self.sources.checkpoint(run)
        unlogged = nullcontext(lambda step, metrics: None)
        with self._log_training(run, mixture, folder) if team.is_main else unlogged as watch:
            train_classifier(
                mixture,
                context.data.val,
                context.data.labels,
                self.sources.settings(run),
                run.seed,
                folder,
                device=context.recipe.device,
                threads=context.recipe.threads,
                watch=watch,
                team=team,
                initial=self.sources.initial(run),
                inputs=self.sources.checkpoint_inputs(run),
            )

    @contextmanager
    def _log_training(self, run: TrainingRun, mixture: Mixture, folder: Path) -> Iterator[Watch]:
        """Log what begins, time the training of the block, and yield what is given its metrics."""
        train, context = self.sources.settings(run), self.context
        steps = train.steps_for(len(mixture))
        for part in (name for name, left in mixture.unpacked().items() if left):
            mixture.pack(part)  # on a node that has no copies yet
        Artifact(folder).fetch()
        counts = " + ".join(f"{n:,} {name}" for name, n in mixture.counts.items())
        context.log(f"training {run.name}: {steps} steps of {train.batch_size} on {counts}")
        with context.tracking.training(run.name, folder) as watch:
            yield watch

    def mixture(self, run: TrainingRun) -> Mixture:
        """Return the images that a run trains on."""
        train, packed = run.train, self.context.out / "packed" if self.context.recipe.data.packed else None
        parts = [
            Source(
                part.source,
                self.sources.images(part.source),
                part.weight,
                part.per_class,
                part.fraction,
                part.balance,
                part.after,
                part.until,
                part.loss_weight,
                self.sources.teacher(run, part),
                part.labels.temperature if part.labels else 1.0,
            )
            for part in run.parts
        ]
        settings = train.batch_size, train.image_size, train.crop, packed, self.sources.interpolation(run)
        return Mixture(parts, *settings, train.steps_for)

    def record(self, run: TrainingRun) -> ArmRecord:
        """Return what a run trains on, for the report."""
        train, mixture = self.sources.settings(run), self.mixture(run)
        network = train.network_in_words(run.alpha)
        steps = train.steps_for(len(mixture))
        shares = [[p.source, p.weight, *([p.drawing] if p.drawing else [])] for p in run.parts]
        drawing = {part.source: part.drawing_in_words for part in run.parts if part.drawing}
        alike = digest([shares, train.model_dump(mode="json", exclude=LENGTH), run.alpha])
        counts = dict(mixture.counts)
        setup = network, train.augmented, steps, train.batch_size
        return ArmRecord(run.of, counts, *setup, alike=alike, drawing=drawing)

    def cost(self, job: Job) -> Cost:
        """Return the cost of an image, forth and back, and of the checkpoint with the state of its training."""
        train, context = self.sources.settings(job.key), self.context
        size = network_size(context.out, train, len(context.data.labels))
        weight_bytes = 4 * size.parameters
        saved_bytes = weight_bytes * (2 if train.is_pretrained else 1)  # what it started from
        each = (1 if train.probes == "only" else TRAIN) * size.multiply_adds
        return Cost(each, train.precision, disk=saved_bytes, beside=STATE_COPIES * weight_bytes)


def _row_heading(run: TrainingRun) -> tuple[str, str]:
    """What the trainings of an arm, or of the baseline line, are listed under, and the noun of their number."""
    return ("baselines", "models") if run.baseline else (run.of, "seeds")


def is_trained(folder: Path) -> bool:
    """Return whether a finished checkpoint lies in `folder`, or on the remote that it mirrors."""
    return Artifact(folder).fetch().is_finished
