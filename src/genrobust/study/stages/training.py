"""The trained classifiers of a study: each in a folder named after the hash of what it depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from genrobust.core import ArmRecord, ImageSet, StudyData, device_kind, digest, fetch
from genrobust.recipe import MixturePart, Recipe, TrainConfig
from genrobust.study.rates import measured, of_packing, of_training, place_of
from genrobust.study.tracking import Tracking
from genrobust.study.training_runs import TrainingRun

if TYPE_CHECKING:
    from genrobust.train import Mixture, Watch


class Training:
    """What trains the cells of a study, and where; `images` gives those of a source, see `MixturePart`.

    `packed` is where packed copies of the images lie, or None where the recipe asks for none.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: StudyData,
        images: Callable[[str], ImageSet],
        out: Path,
        tracking: Tracking,
        say: Callable[[str], None],
    ) -> None:
        self._recipe, self._data, self._images, self._out = recipe, data, images, out
        self._tracking, self._say = tracking, say
        self.packed = out / "packed" if recipe.data.packed else None

    def mixture(self, parts: tuple[MixturePart, ...], train: TrainConfig) -> Mixture:
        """The images that a classifier trains on."""
        from genrobust.train import Mixture, Source

        return Mixture(
            [Source(p.source, self._images(p.source), p.weight, p.per_class, p.fraction) for p in parts],
            train.batch_size,
            train.image_size,
            train.crop,
            self.packed,
        )

    def folder(self, mixture: Mixture, train: TrainConfig, seed: int) -> Path:
        """Where the classifier trained so lies, or will lie."""
        device = device_kind(self._recipe.device)
        what = [mixture.fingerprint, self._data.val.fingerprint, train, seed, self._recipe.threads, device]
        return self._out / "checkpoints" / digest(what)

    def train(self, cells: Iterable[TrainingRun]) -> None:
        """Train `cells`, one after another, whose images are there, and tell the trackers.

        A cell of several workers is trained by this process and others, and the first of them alone tells. Raises
        UserError where there are no others.
        """
        for cell in cells:
            self._train(cell)

    def _train(self, cell: TrainingRun) -> None:
        from genrobust.train import team_of, train as train_classifier

        recipe, train, mixture = self._recipe, cell.train, self.mixture(cell.parts, cell.train)
        folder, team = self.folder(mixture, train, cell.seed), team_of(train.workers)
        if team.is_main:
            self.pack(mixture)  # on a node that has no copies yet
        with self._told(cell, mixture, folder) if team.is_main else nullcontext(_unwatched) as watch:
            train_classifier(
                mixture,
                self._data.val,
                self._data.labels,
                train,
                cell.seed,
                folder,
                device=recipe.device,
                threads=recipe.threads,
                watch=watch,
                team=team,
            )

    def pack(self, mixture: Mixture) -> None:
        """Make the packed copies that `mixture` reads, with all cores: a training that made them would seem slow."""
        for part, left in mixture.unpacked().items():
            if left:
                self._say(f"packing {left:,} images ({part})")
                with measured(self._out, "pack", of_packing(part in self._recipe.generated_sets()), left):
                    mixture.pack(part)

    @contextmanager
    def _told(self, cell: TrainingRun, mixture: Mixture, folder: Path) -> Iterator[Watch]:
        """Time the training of the block and say what begins; what is told its figures."""
        from genrobust.classifiers import STATE

        train, steps = cell.train, cell.train.steps_for(len(mixture))
        fetch(folder, STATE)
        images = 0 if (folder / STATE).exists() else steps * train.batch_size  # the rest of one tells no rate
        counts = " + ".join(f"{n:,} {name}" for name, n in mixture.counts.items())
        self._say(f"training {cell.name}: {steps} steps of {train.batch_size} on {counts}")
        rate = measured(self._out, "train", of_training(train, place_of(self._recipe)), images)
        with rate, self._tracking.training(cell.name, folder) as watch:
            yield watch

    def found(self, cell: TrainingRun, folder: Path) -> None:
        """Tell trackers that came later what the training of `cell` in `folder` was."""
        with self._tracking.training(cell.name, folder):
            pass

    def record(self, cell: TrainingRun) -> ArmRecord:
        """What `cell` trains on, for the report."""
        train, mixture = cell.train, self.mixture(cell.parts, cell.train)
        network = f"{train.architecture}, split batch norm" if train.split_batchnorm else train.architecture
        steps = train.steps_for(len(mixture))
        return ArmRecord(cell.of, dict(mixture.counts), network, train.augmented, steps, train.batch_size)


def _unwatched(step: int, figures: Mapping[str, float]) -> None:
    del step, figures
