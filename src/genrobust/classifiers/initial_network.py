"""Open the pretrained network that a training starts from, and make a last layer for the data's classes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genrobust.classifiers.class_names import columns_of
from genrobust.classifiers.image_preparation import BICUBIC
from genrobust.classifiers.opened_classifier import Blueprint, OpenClassifier
from genrobust.core import ClassLabel, LabelSpace, UserError, digest, find_clip, one_line
from genrobust.recipe import TrainConfig

if TYPE_CHECKING:
    # Import late: torch takes seconds, and the settings of a network are known without it.
    from genrobust.classifiers.networks.classifier_network import Classifier

log = logging.getLogger(__name__)
KEY = "train.init"
CLIP = "clip:"  # begins the name of a CLIP's folder
CROPS = (BICUBIC, "bilinear")  # interpolations of training crops
Texts = Callable[[], Sequence[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Initial:
    """A pretrained network that can be trained, `opened` but not loaded."""

    opened: OpenClassifier

    @property
    def blueprint(self) -> Blueprint:
        """How to make a new network of the same kind."""
        # `open_initial` refuses networks without one.
        assert self.opened.blueprint is not None
        return self.opened.blueprint

    def identity(self, labels: LabelSpace) -> str:
        """Hash the weights and the rows of the last layer that training keeps."""
        unknown, rows = self._head_rows(labels)
        if unknown:
            return self.opened.weights_hash
        return digest([self.opened.weights_hash, rows], 64)

    def gets_new_head(self, labels: LabelSpace) -> bool:
        """Return whether the last layer is new, because the network does not know all classes of `labels`."""
        unknown, _ = self._head_rows(labels)
        return bool(unknown)

    def settings(self, config: TrainConfig) -> TrainConfig:
        """Return `config` with the architecture of this network."""
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
        """Describe where training prepares images differently from other arms or from the pretraining."""
        notes = []
        blueprint = self.blueprint
        if blueprint.interpolation != BICUBIC:
            notes.append(f"Images are resized by {blueprint.interpolation} interpolation for it, as before.")
        if config.image_size != blueprint.image_size:
            notes.append(
                f"It was pretrained on images of {blueprint.image_size} px, and here they have {config.image_size}. "
                f"To train at its size, write train.image_size: {blueprint.image_size}."
            )
        return notes

    def make(self, labels: LabelSpace, config: TrainConfig) -> Classifier:
        """Load the weights into a network for `labels`. `config` is what `settings` returns.

        torch's global seed decides a new last layer.
        """
        import torch

        from genrobust.classifiers.networks.classifier_network import create_classifier
        from genrobust.classifiers.networks.last_layers import head_name

        model = create_classifier(config.architecture, len(labels), config.image_size, config.network_kwargs)
        # Restore the RNG state: loading must not affect training.
        rng_state = torch.random.get_rng_state()
        source = self.opened.load(torch.device("cpu"))
        torch.random.set_rng_state(rng_state)
        state = model.state_dict()
        weights = source.state_dict()
        head = f"network.{head_name(model.network)}."
        unknown, rows = self._head_rows(labels)
        if 0 < len(unknown) < len(labels):
            log.warning(
                f"{KEY}: {self.opened.name} gets a new last layer: it does not know {len(unknown)} of the "
                f"{len(labels)} classes, such as {unknown[0]}"
            )
        for name in state:
            if name.startswith(head) and unknown:
                weights[name] = state[name]
            elif name.startswith(head) and name in weights and len(weights[name]) == len(self.opened.classes):
                weights[name] = weights[name][rows]
        fitting = {name: value for name, value in weights.items() if name in state}
        try:
            model.load_state_dict(fitting)
        except RuntimeError as error:
            raise UserError(
                f"{KEY}: {self.opened.name} does not fit {config.architecture}: {one_line(error)}: "
                "name weights of this architecture"
            ) from error
        return model

    def require_weights(self) -> None:
        """Make a network once, so that a study does not fail because of the weights later."""
        labels = LabelSpace(tuple(ClassLabel(name, name, name) for name in ("class-1", "class-2")))
        config = TrainConfig(init=self.opened.name, image_size=self.blueprint.image_size)
        self.make(labels, self.settings(config))

    def _head_rows(self, labels: LabelSpace) -> tuple[list[str], list[int]]:
        """Return the classes of `labels` that the network does not know, and without such the rows of its last layer.

        With unknown classes, the last layer is new.
        """
        columns = columns_of(self.opened.classes, labels)
        unknown = [label.name for label, column in zip(labels.classes, columns, strict=True) if column is None]
        rows = [] if unknown else self.opened.columns(labels)
        return unknown, rows


def open_initial(spec: str, classes: Sequence[str], texts: Texts, key: str = KEY) -> Initial:
    """Open the network that a training starts from. `spec` is as in `train.init`, and the user named it under `key`.

    `texts` returns one or more texts for each of `classes`, for a CLIP.
    """
    try:
        opened = _open_spec(spec, classes, texts)
    except UserError as error:
        raise UserError(f"{key}: {error}") from error
    if opened.blueprint is None:
        raise UserError(
            f"{key}: {spec} is no network of timm's, and cannot be trained: name a checkpoint, a model of timm's "
            f"or of the hub, or {CLIP}FOLDER"
        )
    if opened.blueprint.interpolation not in CROPS:
        raise UserError(
            f"{key}: {spec} resizes images by {opened.blueprint.interpolation} interpolation, and training knows "
            f"{' and '.join(CROPS)}: name another network"
        )
    return Initial(opened)


def _open_spec(spec: str, classes: Sequence[str], texts: Texts) -> OpenClassifier:
    from genrobust.classifiers.classifier_specs import open_network
    from genrobust.classifiers.sources.model_folders import HUB, fetch_from_hub, is_clip

    if spec.startswith(HUB):
        folder = fetch_from_hub(spec)
    elif spec.startswith(CLIP):
        folder = find_clip(spec.removeprefix(CLIP))
    else:
        folder = Path(spec)
    if spec.startswith(CLIP) or is_clip(folder):
        from genrobust.classifiers.sources.clip_towers import open_tower

        return open_tower(folder, spec, classes, texts())
    return open_network(spec)
