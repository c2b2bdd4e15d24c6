"""A classifier from any source, before its weights are loaded: its classes, its image preparation, its network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from genrobust.classifiers.networks.checkpoints import verify_checkpoint, weights_hash
from genrobust.classifiers.class_names import columns_of, find_equal_names
from genrobust.classifiers.sources.clip_files import hash_clip
from genrobust.classifiers.preprocess import BICUBIC, prepare, protocol
from genrobust.core import ImageSet, LabelSpace, UserError, digest, no_progress, some_of
from genrobust.recipe import EvaluateConfig

if TYPE_CHECKING:  # torch takes seconds, and saved predictions are read without it
    import torch
    from torch import nn

    from genrobust.classifiers.networks.logits import Feed

SINGLE_CROP = EvaluateConfig()


@dataclass(frozen=True, slots=True)
class Blueprint:
    """The arguments of `create_classifier` for a new network of the same kind, and how its images are prepared.

    Images are resized to `image_size` pixels by `interpolation`. `crop_mode` is timm's name for how they become square:
    "center" crops them, "squash" changes their aspect ratio, "border" pads them.
    """

    architecture: str
    model_kwargs: Mapping[str, Any]
    image_size: int
    interpolation: str
    crop_mode: str = "center"


@dataclass(frozen=True, slots=True)
class OpenClassifier:
    """A trained classifier whose weights are not loaded yet.

    Attributes:
        name: The spec that the user gave.
        classes: The K classes by the names in their data (`LabelSpace.label_names`), in the order of the logits.
        weights_hash: Identifies the trained weights, and of some sources the configuration too. It need not cover the
            preparation of images: keys of caches add `preparation` and `flip`.
        prepare: Turns an RGB image of any size into uint8 [H, W, 3].
        preparation: Describes `prepare` in words. Classifiers with the same description see the same pixels.
        load: Loads the network onto a device. The network turns uint8 images [B, 3, H, W] into logits [B, K].
        flip: Whether logits are averaged over an image and its mirror.
        blueprint: Makes a new network of the same kind; None if the classifier cannot be fine-tuned.
        descriptions: The stored names to show for some of `classes`.
    """

    name: str
    classes: tuple[str, ...]
    weights_hash: str
    prepare: Callable[[Image.Image], np.ndarray]
    preparation: str
    load: Callable[[torch.device], nn.Module]
    flip: bool = False
    blueprint: Blueprint | None = None
    descriptions: Mapping[str, str] = field(default_factory=dict)

    def columns(self, labels: LabelSpace) -> list[int]:
        """Return the column of the logits of each class of `labels`.

        Raises:
            UserError: A class has no logit, or two logits.
        """
        columns = columns_of(self.classes, labels)
        matched = [column for column in columns if column is not None]
        if unknown := [name for name, column in zip(labels.label_names, columns, strict=True) if column is None]:
            own = [name for column, name in enumerate(self.classes) if column not in matched] or self.classes
            raise UserError(
                f"the model {self.name} does not know {len(unknown)} of the {len(labels)} classes of this data: "
                f"{some_of(unknown)}. Its own are {some_of(own)}.\nIf a class was renamed since, give it the name "
                f"that the model knows (data.class_names: {{{unknown[0]}: NAME}}), or train it again; else leave it out"
            )
        if pair := find_equal_names(self.classes, labels.label_names):
            first, second = pair
            raise UserError(
                f"the model {self.name} has two logits for one class: {self.classes[first]!r}, numbers {first} and "
                f"{second}: give each a name of its own in the model's label_names, or leave the model out"
            )
        return matched

    def logits(
        self,
        network: nn.Module,
        images: ImageSet,
        feed: Feed,
        advance: Callable[[int], None] = no_progress,
    ) -> np.ndarray:
        """Return the logits of `images`, float32 [N, K]. `network` is the one that `load` returned.

        `advance` is called with the number of images of each batch. Errors are those of `predict_together`.
        """
        from genrobust.classifiers.networks.logits import predict_together

        return predict_together([network], images, self.prepare, feed, advance, self.flip, [self.name])[0]


def open_checkpoint(folder: Path, settings: EvaluateConfig = SINGLE_CROP) -> OpenClassifier:
    """Open the genrobust checkpoint in `folder`; `settings` say how images are prepared.

    Raises:
        UserError: There is no finished checkpoint. On loading: the network does not take images of this size.
        GenrobustError: The checkpoint is damaged.
    """
    info = verify_checkpoint(folder)
    size = settings.image_size or info.image_size

    def load(device: torch.device) -> nn.Module:
        from genrobust.classifiers.networks.architectures import has_fixed_size
        from genrobust.classifiers.networks.models import load_checkpoint

        if size != info.image_size and has_fixed_size(info.architecture):
            raise UserError(
                f"evaluate.image_size: {info.architecture} takes images of the {info.image_size} px that it was "
                f"trained on alone, not of {size}: leave the key out"
            )
        return load_checkpoint(folder, device)[0]

    blueprint = Blueprint(info.architecture, info.model_kwargs, info.image_size, info.interpolation)
    prepared = preparation(settings, size, info.interpolation)
    weights = weights_hash(folder)
    shown = info.descriptions
    return OpenClassifier(
        str(folder), info.classes, weights, load=load, blueprint=blueprint, descriptions=shown, **prepared
    )


def open_zero_shot(
    clip: Path, texts: Sequence[Sequence[str]], classes: Sequence[str], settings: EvaluateConfig, image_size: int
) -> OpenClassifier:
    """Open the CLIP in the folder `clip` as a zero-shot classifier (Radford et al., 2021).

    Args:
        texts: One or more texts for each class.
        classes: The names of the classes.
        settings: How images are prepared, the same as for the study's classifiers.
        image_size: The image size at which the study's classifiers train, in pixels.

    Raises:
        UserError: On loading: the CLIP takes images of another size than the classifiers are evaluated at.
    """
    size = settings.image_size or image_size

    def load(device: torch.device) -> nn.Module:
        from genrobust.classifiers.sources.clip import ZeroShot, load_clip

        model = load_clip(clip, device)
        if model.image_size != size:
            raise UserError(
                f"the CLIP in {clip} sees images of {model.image_size} px and the classifiers of {size} px, so their "
                "accuracies do not compare: name another under zero_shot.clip, or change evaluate.image_size"
            )
        return ZeroShot(model, texts)

    weights = digest([hash_clip(clip), texts])
    prepared = preparation(settings, size)
    return OpenClassifier(f"the CLIP in {clip}", tuple(classes), weights, load=load, **prepared)


def preparation(settings: EvaluateConfig, size: int, interpolation: str = BICUBIC) -> dict[str, Any]:
    """Return the fields of an `OpenClassifier` that describe the preparation of images."""
    transform = partial(prepare, size=size, crop_pct=settings.crop_pct, interpolation=interpolation)
    description = protocol(size, settings.crop_pct, settings.flip, interpolation)
    return {"prepare": transform, "preparation": description, "flip": settings.flip}
