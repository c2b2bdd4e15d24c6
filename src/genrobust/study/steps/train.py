"""The step that trains a classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from genrobust.classifiers import read_checkpoint_info, saved_steps
from genrobust.core import FLOAT32, UserError, count, count_taken, digest
from genrobust.store import Artifact, plugins_of
from genrobust.study.estimates import TRAIN, Cost
from genrobust.study.executors.work import Item
from genrobust.study.steps.classifier import ClassifierStep
from genrobust.study.steps.pack import Pack
from genrobust.study.steps.seen import seen_by_run
from genrobust.study.steps.step import Step
from genrobust.train import PACKING, RESIZING, Mixture

if TYPE_CHECKING:
    from genrobust.train import Watch


@dataclass(frozen=True, eq=False, repr=False)
class Train(ClassifierStep):
    """Trains one classifier, in one item. Its images are made already."""

    title = "training"
    stage = "train"
    counted = "training images"
    in_batches = True

    @cached_property
    def inputs(self) -> dict[str, Any]:
        run = self.run
        context = self.context
        train = run.train.effective
        excluded = {"save_every"}
        start: dict[str, Any] = {}
        initial = self.open_initial()
        if initial is not None:
            # The weights identify the start, in whatever file they are.
            train = initial.settings(train)
            excluded.add("init")
            start["initial"] = initial.identity(context.data.labels)
        plugins = plugins_of(type(train), type(train.augmentation))
        if plugins:
            start["plugins"] = plugins
        return {
            "mixture": self._mixture_hash,
            "val": context.data.val.fingerprint,
            "train": train.model_dump(mode="json", exclude=excluded),
            "seed": run.seed,
            "threads": context.recipe.threads,
            "device": context.device,
            **start,
        }

    @property
    def _mixture_hash(self) -> str:
        """Hash of the training data, excluding settings and seed."""
        images = [part.inputs for part in self.parts]
        if self.run.train.crop != "random-resized":
            return digest(images)
        packing = [PACKING] if self.context.recipe.data.packed else []
        return digest([images, RESIZING, *packing])

    @property
    def _heading(self) -> tuple[str, str]:
        """The name of its arm, or of the baseline models, and the noun of their number."""
        if self.run.baseline:
            return ("baselines", "models")
        return (self.run.of, "seeds")

    @property
    def row(self) -> str:
        return self._heading[0]

    def row_of(self, steps: int) -> str:
        name, noun = self._heading
        if steps > 1:
            return f"{name}, {steps:,} {noun}"
        return self.run.name

    def needs(self) -> tuple[Step, ...]:
        origin = () if self.origin is None else (self.origin,)
        return (*(part.source for part in self.parts), *origin, *self._packs())

    def _packs(self) -> list[Pack]:
        """The packed copies that are needed before training. A node of a cluster packs what it reads."""
        is_packed = self.context.recipe.data.packed and self.run.train.crop == "random-resized"
        if not is_packed or not self.context.executor.here or self.is_made():
            return []
        return [Pack(self.context, part) for part in self.parts]

    def items(self) -> list[Item]:
        self.require_styles()
        train = self.settings
        is_made = self.is_made()
        counts_images = train.epochs is not None or train.probes == "only"
        steps = train.steps_for(self._count_images() if counts_images else 0)
        if train.probes == "first":
            probed = self._count_images() + len(self.context.data.val)
        else:
            probed = 0
        return [
            Item(
                key=self.run.seed,
                name=self.run.name,
                size=0 if is_made else probed + steps * train.batch_size,
                total=steps,
                unit="steps",
                each=train.batch_size,
                saved=0 if is_made else saved_steps(self.folder),
            )
        ]

    def _count_images(self) -> int:
        """Count the images of the mixture; before they are made, without losses to filters and retrieval."""
        total = 0
        for mixed in self.parts:
            part = mixed.part
            for images in mixed.count_classes().tolist():
                total += count_taken(images, part.per_class, part.fraction)
        return total

    def require_size(self) -> None:
        """Raise UserError if the network cannot be tested on images of the size that the recipe names."""
        size = self.context.recipe.evaluate.image_size
        if size is not None:
            # Import late: timm takes seconds.
            from genrobust.classifiers import require_size

            require_size(self.settings.architecture, self.settings.image_size, size)

    @property
    def network_key(self) -> tuple[object, ...]:
        """Everything that decides the network of the first step, except the seed."""
        initial = self.open_initial()
        if initial is None:
            start = None
        else:
            start = initial.identity(self.context.data.labels)
        return start, self.run.train.image_size, self.run.train.method

    def make_initial(self) -> list[str]:
        """Make the network that training starts from, so that mistakes in it are reported before any work.

        Returns:
            Notes on its images.
        """
        initial = self.open_initial()
        if initial is None:
            return []
        network = initial.make(self.context.data.labels, self.settings).network
        if self.run.train.probes:
            # Import late: listing finished work must not load torch.
            from genrobust.classifiers import last_linear

            last_linear(network)
        return [f"{initial.opened.name}: {note}" for note in initial.preparation_notes(self.run.train)]

    def require_styles(self) -> None:
        """Raise UserError if a part is to be balanced by style, and its images are made and have no styles."""
        for mixed in self.parts:
            is_balanced = "style" in mixed.part.balance
            if is_balanced and mixed.source.is_made() and not any(mixed.source.open().styles):
                raise UserError(
                    f"arm {self.run.of!r}: mixture: {mixed.part.source}: balance: its images have no styles: leave "
                    "style out, or give them some (data.styles, or prompts that name styles)"
                )

    @classmethod
    def announce_batch(cls, steps: Sequence[Train], items: Sequence[Item], workers: int) -> None:
        together = min(workers, len(items))
        # A single training logs its own start.
        if together > 1:
            steps[0].context.log(f"training {len(items)} classifiers, {together} at a time")

    def make(self, keys: Sequence[int]) -> None:
        from genrobust.train import TrainingJob, train as train_classifier

        del keys
        context = self.context
        for part in self.parts:
            part.source.fetch_files()
        mixture = self.open_mixture()
        with self._log_training(mixture) as watch:
            job = TrainingJob(
                mixture=mixture,
                val=context.data.val,
                labels=context.data.labels,
                config=self.settings,
                seed=self.run.seed,
                out=self.folder,
                device=context.recipe.device,
                threads=context.recipe.threads,
                initial=self.open_initial(),
                inputs=self.inputs,
                images=seen_by_run(self).record(context.recipe.name, context.census.contents),
            )
            train_classifier(job, watch)

    @contextmanager
    def _log_training(self, mixture: Mixture) -> Iterator[Watch]:
        """Log the start of the training in the block, and yield the function that tracks its metrics."""
        train = self.settings
        # A node of a cluster has no packed copies yet.
        mixture.pack()
        Artifact(self.folder).fetch()
        steps = train.steps_for(len(mixture))
        counts = " + ".join(f"{number:,} {source}" for source, number in mixture.counts.items())
        self.context.log(f"training {self.run.name}: {steps} steps of {train.batch_size} on {counts}")
        with self.context.tracking.training(self.run.name, self.folder) as watch:
            yield watch

    @property
    def is_quick(self) -> bool:
        return self.run.train.probes == "only"

    def announce_result(self) -> None:
        # A worker elsewhere may have made it, so its manifest may have to be fetched first.
        if self.run.baseline or not self.is_made():
            return
        accuracy = read_checkpoint_info(self.folder).training.get("best_val_top1")
        if accuracy is not None:
            images = count(len(self.context.data.val), "validation image")
            self.context.log(f"{self.run.name}: {accuracy:.1f} % right on {images}")

    def finish(self, made: Sequence[Item]) -> None:
        if made:
            return
        # A run may have been killed after it finished.
        Artifact(self.folder).clean()
        self._require_same_images()

    def _require_same_images(self) -> None:
        """Raise UserError if the classifier was trained on other images than its inputs give now."""
        trained_on = read_checkpoint_info(self.folder).training.get("mixture")
        if trained_on != self.open_mixture().fingerprint:
            sources = ", ".join(part.source for part in self.run.parts)
            raise UserError(
                f"{self.run.name}: the images in {sources} are not those that "
                f"{self.folder} was trained on: restore them, or delete that folder to train again, and the folders of "
                "arms that start from it and of filters that it judges"
            )

    def cost(self, item: Item) -> Cost:
        """Return the cost of an image, forward and backward, and the bytes of the checkpoint."""
        train = self.settings
        size = self.size
        kind = ", ".join([train.architecture, train.method, f"{train.image_size} px", train.crop, train.augmented])
        # A pretrained start is saved, too.
        disk = 4 * size.parameters * (2 if train.is_pretrained else 1)
        if train.probes == "only":
            # It only embeds images, in float32.
            return Cost(size.multiply_adds, FLOAT32, kind=kind, disk=disk)
        return Cost(TRAIN * size.multiply_adds, train.precision, kind=kind, disk=disk)
