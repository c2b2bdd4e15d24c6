"""The classifiers of a study, trained or not: where each lies, and all that it depends on."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from genrobust.classifiers import BICUBIC, Blueprint, Initial, open_initial, open_run, require_clip
from genrobust.core import Artifact, UserError, artifact_folder, digest, plugins_of
from genrobust.data import Review, withheld_cells
from genrobust.recipe import FilterConfig, MixturePart, TrainConfig
from genrobust.study.context import Context, Rebuilt
from genrobust.study.estimates import NetworkSize, network_size
from genrobust.study.sources.images import Images
from genrobust.study.training_runs import TrainingRun, run_of
from genrobust.train import PACKING, RESIZING, Mixture, Source


class Checkpoints(Rebuilt):
    """The classifiers of a study, by their runs, and the images that they train on.

    `reviews` are as for `Images`.
    """

    def __init__(self, context: Context, reviews: dict[Path, Review] | None = None) -> None:
        self.context = context
        self.images = Images(context, self._judge, reviews)
        self.reviews = self.images.reviews
        self.initial: dict[str, Initial] = {}  # networks that runs start from, by the settings that name one
        self._planned: dict[TrainingRun, PlannedCheckpoint] = {}

    def of(self, run: TrainingRun) -> PlannedCheckpoint:
        """Return the classifier of a run."""
        if run not in self._planned:
            self._planned[run] = PlannedCheckpoint(self, run)
        return self._planned[run]

    def of_arm(self, name: str, seed: int | None = None) -> PlannedCheckpoint:
        """Return the classifier of an arm, by default of the first seed."""
        recipe = self.context.recipe
        return self.of(run_of(recipe, recipe.arm(name), recipe.seeds[0] if seed is None else seed))

    def judge_of(self, rule: FilterConfig) -> PlannedCheckpoint | None:
        """Return the classifier that a filter judges by; None for a filter that judges by something else."""
        return self.of_arm(rule.arm) if rule.by == "classifier" else None

    def _judge(self, rule: FilterConfig, dataset: str) -> Path:
        """The folder of the CLIP or of the classifier that the filter of a dataset judges by."""
        judge = self.judge_of(rule)
        return require_clip(rule.clip or "", f"datasets.{dataset}.filter.clip") if judge is None else judge.folder


class PlannedCheckpoint:
    """The classifier of one run among `checkpoints`, those of its recipe."""

    def __init__(self, checkpoints: Checkpoints, run: TrainingRun) -> None:
        self.checkpoints, self.run = checkpoints, run
        self.context, self.images = checkpoints.context, checkpoints.images

    @cached_property
    def folder(self) -> Path:
        """Where it lies, or will lie."""
        run = self.run
        word = " ".join([*dict.fromkeys(part.source for part in run.parts), f"s{run.seed}"])
        word += "" if run.alpha == 1 else f" wise-ft {run.alpha:g}"
        return artifact_folder(self.context.out / "checkpoints", word, self.inputs)

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """All that it depends on."""
        run, context, initial, start = self.run, self.context, self.initial, {}
        if run.alpha != 1:
            return {"tuned": self.tuned.folder.name, "wise_ft": run.alpha}
        train = run.train.effective
        if initial is not None:  # by its weights, wherever they lie
            train, start = initial.settings(train), {"initial": initial.identity(context.data.labels)}
        return {
            "mixture": self._mixture_identity,
            "val": context.data.val.fingerprint,
            "train": train.model_dump(mode="json", exclude={"save_every", *(["init"] if start else [])}),
            "seed": run.seed,
            "threads": context.recipe.threads,
            "device": context.device,
            **start,
            **({"plugins": plugins} if (plugins := plugins_of(type(train), type(train.augmentation))) else {}),
        }

    @property
    def is_trained(self) -> bool:
        """Whether it is trained; fetches it where another machine trained it."""
        return Artifact(self.folder).fetch().is_finished

    @property
    def tuned(self) -> PlannedCheckpoint:
        """The one that is trained for this one."""
        return self.checkpoints.of(self.run.tuned)

    @property
    def _mixture_identity(self) -> str:
        """A hash of all that the batches of the training depend on beside its settings and seed."""
        images = [
            [self.images.of(p.source).identity, p.weight, p.per_class, p.fraction, *self._drawing(p)]
            for p in self.run.parts
        ]
        if self.run.train.crop != "random-resized":
            return digest(images)
        return digest([images, RESIZING, *([PACKING] if self.context.recipe.data.packed else [])])

    def _drawing(self, part: MixturePart) -> list[dict[str, Any]]:
        """The keys that say how images of a part are drawn; none for none."""
        drawing = part.drawing
        if "cells" in drawing:
            drawing["cells"] = sorted(withheld_cells(self.context.data))
        return [drawing] if drawing else []

    @cached_property
    def initial(self) -> Initial | None:
        """The network that it starts from; None where its weights are random.

        Raises:
            UserError: There is no such network, it cannot be trained, or has not the last layer that is asked for.
            GenrobustError: It cannot be fetched from the hub.
        """
        train, opened = self.run.train, self.checkpoints.initial
        if not train.is_pretrained:
            return None
        if train.init not in opened:
            opened[train.init] = self._open_initial()
        return opened[train.init]

    def _open_initial(self) -> Initial:
        train, origin = self.run.train, self.origin
        if origin is None:
            return open_initial(train.init, self.context.data.labels.label_names, lambda: self.context.class_texts)
        classes = self.context.data.labels.label_names
        return Initial(open_run(train.init, origin.folder, classes, origin._blueprint))

    @cached_property
    def settings(self) -> TrainConfig:
        """The settings of its training, with the architecture of the network that it starts from."""
        return self.run.train if self.initial is None else self.initial.settings(self.run.train)

    @property
    def interpolation(self) -> str:
        """How its images are resized."""
        return BICUBIC if self.initial is None else self.initial.blueprint.interpolation

    @property
    def _blueprint(self) -> Blueprint:
        settings = self.settings
        return Blueprint(settings.architecture, settings.network_kwargs, settings.image_size, self.interpolation)

    @property
    def size(self) -> NetworkSize:
        """The size of its network."""
        return network_size(self.context.out, self.settings, len(self.context.data.labels))

    @cached_property
    def origin(self) -> PlannedCheckpoint | None:
        """The classifier of the arm that it starts from; None where it starts from something else."""
        arm = self.run.train.origin_arm
        return None if arm is None else self.checkpoints.of_arm(arm)

    def require_size(self) -> None:
        """Raise UserError if its network cannot be tested on images of the size that the recipe names."""
        if (size := self.context.recipe.evaluate.image_size) is not None:
            from genrobust.classifiers import require_size  # with timm, which takes seconds

            require_size(self.settings.architecture, self.settings.image_size, size)

    def require_styles(self) -> None:
        """Raise UserError if a part is to be balanced by style, and its images, once made, have none."""
        for source in (part.source for part in self.run.parts if "style" in part.balance):
            if self.images.is_made(source) and not any(self.images.open(source).styles):
                raise UserError(
                    f"arm {self.run.of!r}: mixture: {source}: balance: its images have no styles: leave style out, or "
                    "give them some (data.styles, or prompts that name styles)"
                )

    def mixture(self) -> Mixture:
        """Return the images that it trains on, which are made already."""
        train, packed = self.run.train, self.context.out / "packed" if self.context.recipe.data.packed else None
        parts = [
            Source(
                part.source,
                self.images.open_part(part),
                part.weight,
                part.per_class,
                part.fraction,
                part.balance,
            )
            for part in self.run.parts
        ]
        settings = train.batch_size, train.image_size, train.crop, packed, self.interpolation
        return Mixture(parts, *settings)
