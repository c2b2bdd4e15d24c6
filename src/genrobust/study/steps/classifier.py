"""A classifier of a study, trained or not: the base of the steps that train one and that mix weights."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from genrobust.classifiers import BICUBIC, Blueprint, Initial, open_initial, open_run
from genrobust.recipe import TrainConfig
from genrobust.store import artifact_folder
from genrobust.study.network_size import NetworkSize, network_size
from genrobust.study.steps.images import MixedImages
from genrobust.study.steps.step import Step
from genrobust.study.training_runs import TrainingRun
from genrobust.train import Mixture, Source


@dataclass(frozen=True, eq=False, repr=False)
class ClassifierStep(Step):
    """A step that makes the classifier of `run`: a checkpoint.

    `parts` are the images that it trains on, and `origin` is the classifier of another arm that it starts from, if any.
    """

    run: TrainingRun
    parts: tuple[MixedImages, ...]
    origin: ClassifierStep | None

    @cached_property
    def folder(self) -> Path:
        run = self.run
        sources = dict.fromkeys(part.source for part in run.parts)
        word = " ".join([*sources, f"s{run.seed}"])
        if run.alpha != 1:
            word += f" wise-ft {run.alpha:g}"
        return artifact_folder(self.context.out / "checkpoints", word, self.inputs)

    @property
    @abstractmethod
    def inputs(self) -> dict[str, Any]:
        """Everything that the weights depend on."""

    def open_initial(self) -> Initial | None:
        """Open the network that training starts from, once per study; None for random weights."""
        train = self.run.train
        if not train.is_pretrained:
            return None
        opened = self.context.initial_networks
        if train.init not in opened:
            opened[train.init] = self._open_initial()
        return opened[train.init]

    def _open_initial(self) -> Initial:
        init = self.run.train.init
        classes = self.context.data.labels.label_names
        if self.origin is None:
            return open_initial(init, classes, lambda: self.context.class_texts)
        return Initial(open_run(init, self.origin.folder, classes, self.origin.blueprint))

    @cached_property
    def settings(self) -> TrainConfig:
        """The settings of the training, with the architecture of the network that it starts from."""
        initial = self.open_initial()
        if initial is None:
            return self.run.train
        return initial.settings(self.run.train)

    @property
    def interpolation(self) -> str:
        initial = self.open_initial()
        if initial is None:
            return BICUBIC
        return initial.blueprint.interpolation

    @property
    def blueprint(self) -> Blueprint:
        settings = self.settings
        return Blueprint(settings.architecture, settings.network_kwargs, settings.image_size, self.interpolation)

    @property
    def size(self) -> NetworkSize:
        return network_size(self.context.out, self.settings, len(self.context.data.labels))

    def open_mixture(self) -> Mixture:
        """Open the images that it trains on, which are made already."""
        parts: list[Source] = []
        for mixed in self.parts:
            part = mixed.part
            parts.append(Source(part.source, mixed.open(), part.weight, part.per_class, part.fraction, part.balance))
        train = self.run.train
        if self.context.recipe.data.packed:
            packed = self.context.out / "packed"
        else:
            packed = None
        return Mixture(parts, train.batch_size, train.image_size, train.crop, packed, self.interpolation)
