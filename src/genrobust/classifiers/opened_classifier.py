"""A classifier from any source, before its weights are loaded: its classes, its image preparation, its network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from genrobust.classifiers.class_names import columns_of, find_equal_names
from genrobust.classifiers.image_preparation import BICUBIC, prepare, protocol
from genrobust.core import LabelSpace, UserError, some_of
from genrobust.recipe import EvaluateConfig
from genrobust.store import Maker

if TYPE_CHECKING:
    # Import late: reading saved predictions must not load torch.
    import torch
    from torch import nn

SINGLE_CROP = EvaluateConfig()
# Images at most, for adapted batch norms: the default batch size of predictions. In the paper, 32 images gain most.
ADAPTED_TO = 256


@dataclass(frozen=True, slots=True)
class Blueprint:
    """The arguments of `create_classifier` for a new network of the same kind, and how its images are prepared.

    Images are resized to `image_size` pixels by `interpolation`.
    """

    architecture: str
    model_kwargs: Mapping[str, Any]
    image_size: int
    interpolation: str


@dataclass(frozen=True, slots=True)
class OpenClassifier:
    """A trained classifier whose weights are not loaded yet.

    Attributes:
        name: The spec that the user gave.
        classes: The K classes by the names in their data (`LabelSpace.label_names`), in the order of the logits.
        weights_hash: Identifies the trained weights. It need not cover the preparation of images: keys of caches add
            `preparation` and `flip`.
        prepare: Turns an RGB image of any size into uint8 [H, W, 3].
        preparation: Describes `prepare` in words. Classifiers with the same description see the same pixels.
        load: Loads the network onto a device. The network turns uint8 images [B, 3, H, W] into logits [B, K].
        flip: Whether logits are averaged over an image and its mirror.
        adapted: Whether its batch norms are adapted to each image set that it predicts.
        blueprint: Makes a new network of the same kind; None if the classifier cannot be fine-tuned.
        descriptions: The stored names to show for some of `classes`.
        makers: The functions that decide the network, in addition to `load`.
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
    adapted: bool = False
    makers: tuple[Maker, ...] = ()

    @property
    def all_makers(self) -> tuple[Maker, ...]:
        """The functions that open and load the network and prepare images; see `made_by`."""
        return (self.load, *self.makers)

    def columns(self, labels: LabelSpace) -> list[int]:
        """Return the column of the logits of each class of `labels`."""
        columns = columns_of(self.classes, labels)
        matched = [column for column in columns if column is not None]
        unknown = [name for name, column in zip(labels.label_names, columns, strict=True) if column is None]
        if unknown:
            others = [name for column, name in enumerate(self.classes) if column not in matched]
            own = others or self.classes
            raise UserError(
                f"the model {self.name} does not know {len(unknown)} of the {len(labels)} classes of this data: "
                f"{some_of(unknown)}. Its own are {some_of(own)}.\nIf a class was renamed since, give it the name "
                f"that the model knows (data.class_names: {{{unknown[0]}: NAME}}), or train it again; else leave it out"
            )
        pair = find_equal_names(self.classes, labels.label_names)
        if pair is not None:
            first, second = pair
            raise UserError(
                f"the model {self.name} has two logits for one class: {self.classes[first]!r}, numbers {first} and "
                f"{second}: give each a name of its own in the model's label_names, or leave the model out"
            )
        return matched


def preparation(settings: EvaluateConfig, size: int, interpolation: str = BICUBIC) -> dict[str, Any]:
    """Return the fields of an `OpenClassifier` that describe the preparation of images."""
    transform = partial(prepare, size=size, crop_pct=settings.crop_pct, interpolation=interpolation)
    description = protocol(size, settings.crop_pct, settings.flip, interpolation)
    return {"prepare": transform, "preparation": description, "flip": settings.flip}
