"""The network that a training starts from: opened by the words of `train.init`, and made for the data's classes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genrobust.classifiers.class_names import columns_of
from genrobust.classifiers.classifier import Blueprint, OpenClassifier
from genrobust.classifiers.preprocess import BICUBIC
from genrobust.core import LabelSpace, UserError, digest, find_clip, one_line
from genrobust.recipe import TrainConfig

if TYPE_CHECKING:  # torch takes seconds, and what a network is made with is known without it
    from genrobust.classifiers.networks.models import Classifier

log = logging.getLogger(__name__)
CLIP = "clip:"  # begins the name of a CLIP's folder
CROPS = (BICUBIC, "bilinear")  # interpolations that training crops know too


@dataclass(frozen=True, slots=True)
class Initial:
    """A pretrained network that can be trained, `opened` but not loaded."""

    opened: OpenClassifier

    @property
    def blueprint(self) -> Blueprint:
        """Makes a new network of the same kind."""
        assert self.opened.blueprint is not None  # `open_initial`
        return self.opened.blueprint

    def identity(self, labels: LabelSpace) -> str:
        """Return a hash of its weights, and of the rows of its last layer that are those of `labels`."""
        unknown, rows = self._head_rows(labels)
        return self.opened.weights_hash if unknown else digest([self.opened.weights_hash, rows], 64)

    def settings(self, config: TrainConfig) -> TrainConfig:
        """Return `config` for this network, whose architecture and its arguments take the place of those there.

        Raises:
            UserError: Its images have another size than the network takes.
        """
        from genrobust.classifiers.networks.architectures import has_fixed_size

        blueprint = self.blueprint
        if config.image_size != blueprint.image_size and has_fixed_size(blueprint.architecture):
            raise UserError(
                f"train.image_size: {self.opened.name} takes images of {blueprint.image_size} px alone, and image_size "
                f"is {config.image_size}: set it to {blueprint.image_size}"
            )
        kwargs = dict(blueprint.model_kwargs)
        updates = {
            "architecture": blueprint.architecture,
            "blur_pool": kwargs.pop("blur_pool", False),
            "model_kwargs": kwargs,
        }
        return config.model_copy(update=updates)

    def preparation_notes(self, config: TrainConfig) -> list[str]:
        """Return sentences on how training prepares images for it, where other arms or its pretraining differ."""
        notes, blueprint = [], self.blueprint
        if blueprint.interpolation != BICUBIC:
            notes.append(f"Images are resized by {blueprint.interpolation} interpolation for it, as before.")
        if config.image_size != blueprint.image_size:
            notes.append(
                f"It has learned from images of {blueprint.image_size} px, and here they have {config.image_size}: "
                f"train.image_size: {blueprint.image_size} keeps its size."
            )
        return notes

    def make(self, labels: LabelSpace, config: TrainConfig) -> Classifier:
        """Load the weights into a network for `labels`; what of the last layer is new, torch's global seed decides.

        `config` is as `settings` returns it.

        Raises:
            UserError: The weights have other shapes than those of the network, or no last layer of their own.
            GenrobustError: They cannot be fetched or loaded.
        """
        import torch

        from genrobust.classifiers.networks.heads import head_name
        from genrobust.classifiers.networks.models import create_classifier

        model = create_classifier(config.architecture, len(labels), config.image_size, config.network_kwargs)
        rng_state = torch.random.get_rng_state()
        source = self.opened.load(torch.device("cpu"))
        torch.random.set_rng_state(rng_state)  # what loading draws changes no step
        state, weights = model.state_dict(), source.state_dict()
        prefix, (unknown, rows) = f"network.{head_name(model.network)}.", self._head_rows(labels)
        if 0 < len(unknown) < len(labels):
            log.warning(
                f"train.init: {self.opened.name} gets a new last layer: it does not know {len(unknown)} of the "
                f"{len(labels)} classes, such as {unknown[0]}"
            )
        for name in [name for name in state if name.startswith(prefix)]:
            pretrained = weights.get(name)
            if unknown:
                weights[name] = state[name]
            elif pretrained is not None and len(pretrained) == len(self.opened.classes):
                weights[name] = pretrained[rows]
        try:
            model.load_state_dict({name: value for name, value in weights.items() if name in state})
        except RuntimeError as error:
            raise UserError(
                f"train.init: {self.opened.name} does not fit {config.architecture}: {one_line(error)}: "
                "name weights of this architecture"
            ) from error
        return model

    def _head_rows(self, labels: LabelSpace) -> tuple[list[str], list[int]]:
        """The classes of `labels` that it does not know, for whose sake the last layer is new; else its rows."""
        columns = columns_of(self.opened.classes, labels)
        unknown = [label.name for label, column in zip(labels.classes, columns, strict=True) if column is None]
        return unknown, [] if unknown else self.opened.columns(labels)


def open_initial(spec: str, classes: Sequence[str], texts: Callable[[], Sequence[Sequence[str]]]) -> Initial:
    """Open the network that a training starts from.

    Args:
        spec: As in `train.init`.
        classes: The names of the data's classes.
        texts: Returns one or more texts for each, that a CLIP knows them by.

    Raises:
        UserError: There is no such network, it cannot be trained, or has not the last layer that is asked for.
        GenrobustError: It cannot be fetched from the hub.
    """
    opened = _open_spec(spec, classes, texts)
    if opened.blueprint is None:
        raise UserError(
            f"train.init: {spec} is no network of timm's, and cannot be trained: name a checkpoint, a model of timm's "
            f"or of the hub, or {CLIP}FOLDER"
        )
    if opened.blueprint.interpolation not in CROPS:
        raise UserError(
            f"train.init: {spec} resizes images by {opened.blueprint.interpolation} interpolation, and training knows "
            f"{' and '.join(CROPS)}: name another network"
        )
    return Initial(opened)


def _open_spec(spec: str, classes: Sequence[str], texts: Callable[[], Sequence[Sequence[str]]]) -> OpenClassifier:
    from genrobust.classifiers.opening import open_network
    from genrobust.classifiers.sources.folders import HUB, fetch_from_hub, is_clip

    if spec.startswith(HUB):
        folder = fetch_from_hub(spec)
    else:
        folder = find_clip(spec.removeprefix(CLIP)) if spec.startswith(CLIP) else Path(spec)
    try:
        if spec.startswith(CLIP) or is_clip(folder):
            from genrobust.classifiers.sources.clip_towers import open_tower

            return open_tower(folder, spec, classes, texts())
        return open_network(spec)
    except UserError as error:
        raise UserError(f"train.init: {error}") from error
