"""The network that a training starts from: opened by the words of `train.init`, and made for the data's classes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from genrobust.classifiers.class_names import columns_of
from genrobust.classifiers.classifier import Blueprint, OpenClassifier
from genrobust.classifiers.preprocess import BICUBIC
from genrobust.classifiers.sources.checkpoint import open_run
from genrobust.core import LabelSpace, UserError, find_clip, one_line
from genrobust.recipe import PRETRAINED, TrainConfig

if TYPE_CHECKING:  # torch takes seconds, and what a network is made with is known without it
    from genrobust.classifiers.networks.models import Classifier

log = logging.getLogger(__name__)
CLIP = "clip:"  # begins the name of a CLIP's folder
CROPS = (BICUBIC, "bilinear")  # interpolations that training crops know too


@dataclass(frozen=True, slots=True)
class Initial:
    """A pretrained network, `opened` but not loaded."""

    spec: str
    opened: OpenClassifier
    blueprint: Blueprint

    @property
    def identity(self) -> str:
        """A hash of its weights, and of all else that the last layer depends on."""
        return self.opened.weights_hash

    def settings(self, config: TrainConfig) -> TrainConfig:
        """Return `config` for this network, whose architecture takes the place of the one there.

        timm's own weights go by their whole name from then on.

        Raises:
            UserError: Its images have another size than the network takes.
        """
        from genrobust.classifiers.networks.architectures import has_fixed_size

        blueprint = self.blueprint
        if config.image_size != blueprint.image_size and has_fixed_size(blueprint.architecture):
            raise UserError(
                f"train.image_size: {self.spec} takes images of {blueprint.image_size} px alone, and image_size is "
                f"{config.image_size}: set it to {blueprint.image_size}"
            )
        kwargs = dict(blueprint.model_kwargs)
        updates = {
            "init": self.opened.name if config.init == PRETRAINED else config.init,
            "architecture": blueprint.architecture,
            "blur_pool": kwargs.pop("blur_pool", config.blur_pool),
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
        prefix, rows = f"network.{head_name(model.network)}.", self._head_rows(labels)
        for name in [name for name in state if name.startswith(prefix)]:
            pretrained = weights.get(name)
            if rows is None:
                weights[name] = state[name]
            elif pretrained is not None and len(pretrained) == len(self.opened.classes):
                weights[name] = pretrained[rows]
        try:
            model.load_state_dict({name: value for name, value in weights.items() if name in state})
        except RuntimeError as error:
            raise UserError(
                f"train.init: {self.spec} does not fit {config.architecture}: {one_line(error)}: "
                "name weights of this architecture"
            ) from error
        return model

    def _head_rows(self, labels: LabelSpace) -> list[int] | None:
        """The rows of the last layer that are those of `labels`; None where it is to be a new one."""
        columns = columns_of(self.opened.classes, labels)
        unknown = [label.name for label, column in zip(labels.classes, columns, strict=True) if column is None]
        if not unknown:
            return self.opened.columns(labels)
        if len(unknown) < len(labels):
            log.warning(
                f"train.init: {self.spec} gets a new last layer: it does not know {len(unknown)} of the {len(labels)} "
                f"classes, such as {unknown[0]}"
            )
        return None


def open_initial(config: TrainConfig, classes: Sequence[str], texts: Callable[[], Sequence[Sequence[str]]]) -> Initial:
    """Open the network that a training with `config` starts from.

    Args:
        classes: The names of the data's classes.
        texts: Returns one or more texts for each, that a CLIP knows them by.

    Raises:
        UserError: There is no such network, it cannot be trained, or has not the last layer that is asked for.
        GenrobustError: It cannot be fetched from the hub.
    """
    spec = config.init
    opened = _open_spec(spec, config, classes, texts)
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
    return Initial(spec, opened, opened.blueprint)


def initial_of_run(config: TrainConfig, checkpoint: Path, classes: tuple[str, ...], blueprint: Blueprint) -> Initial:
    """Open a classifier of a study, as in `open_run`, to train it further."""
    return Initial(config.init, open_run(config.init, checkpoint, classes, blueprint), blueprint)


def _open_spec(
    spec: str, config: TrainConfig, classes: Sequence[str], texts: Callable[[], Sequence[Sequence[str]]]
) -> OpenClassifier:
    from genrobust.classifiers.opening import open_network
    from genrobust.classifiers.sources.clip_folder import find_clip_folder
    from genrobust.classifiers.sources.hub import HUB, fetch_hub_clip

    folder = find_clip(spec.removeprefix(CLIP)) if spec.startswith(CLIP) else Path(spec)
    if (clip := fetch_hub_clip(spec) if spec.startswith(HUB) else find_clip_folder(folder)) is not None:
        from genrobust.classifiers.sources.clip_towers import open_tower

        return open_tower(clip, spec, classes, texts)
    if spec.startswith(CLIP):
        raise UserError(
            f"train.init: {folder} holds no CLIP: it has neither the open_clip_config.json of open_clip nor a "
            "config.json of transformers' CLIP"
        )
    if spec == PRETRAINED:
        return _open_pretrained(config)
    try:
        return open_network(spec)
    except UserError as error:
        raise UserError(f"train.init: {error}") from error


def _open_pretrained(config: TrainConfig) -> OpenClassifier:
    """timm's weights of the architecture; its own arguments may add what no weight depends on, such as a drop path."""
    import timm

    from genrobust.classifiers.networks.architectures import timm_name
    from genrobust.classifiers.sources.timm_models import open_timm

    name = timm_name(config.architecture)
    settings = timm.get_pretrained_cfg(name)
    if settings is None or not timm.is_model_pretrained(name):
        raise UserError(
            f"train.init: pretrained: timm has no weights of {config.architecture}: set train.architecture to one that "
            "has, such as resnet50, or name the weights under train.init"
        )
    opened = open_timm(f"{settings.architecture}.{settings.tag}" if settings.tag else name, ())
    assert opened.blueprint is not None  # timm makes it
    return replace(opened, blueprint=replace(opened.blueprint, model_kwargs=config.model_kwargs))
