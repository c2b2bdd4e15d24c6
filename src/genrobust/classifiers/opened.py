"""An opened classifier, wherever it comes from: its classes, how it wants images prepared, and its logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from genrobust.classifiers.checkpoints import check_weights, weights_hash
from genrobust.classifiers.class_names import columns_of, find_equal_names
from genrobust.classifiers.clip_files import hash_clip
from genrobust.classifiers.preprocess import BICUBIC, prepare, protocol
from genrobust.core import ImageSet, LabelSpace, UserError, digest
from genrobust.recipe import EvaluateConfig

if TYPE_CHECKING:  # torch takes seconds, and saved predictions are read without it
    import torch
    from torch import nn

NAMED = 5  # classes that an error names one by one
SINGLE_CROP = EvaluateConfig()


@dataclass(frozen=True, slots=True)
class Blueprint:
    """The arguments of `create_classifier` for a new network, and how images of `image_size` pixels are resized for it.

    `crop_mode` is timm's name for how other images become squares: "center" crops them, "squash" changes their aspect
    ratio, "border" pads them.
    """

    architecture: str
    model_kwargs: Mapping[str, Any]
    image_size: int
    interpolation: str
    crop_mode: str = "center"


@dataclass(frozen=True, slots=True)
class OpenClassifier:
    """A trained classifier from anywhere, not loaded yet.

    Attributes:
        name: The words that named it.
        classes: K ids, in the order of its logits.
        weights: A hash of all that its logits depend on beside the images.
        prepare: Turns an RGB image of any size into uint8 [H, W, 3].
        prepared: How, in words. Classifiers with the same words see the same pixels.
        load: Returns the network on a device: uint8 images [B, 3, H, W] to logits [B, K].
        flip: Whether logits are averaged over an image and its mirror.
        blueprint: That of the network, a `Classifier`; None for one that cannot be trained on.
    """

    name: str
    classes: tuple[str, ...]
    weights: str
    prepare: Callable[[Image.Image], np.ndarray]
    prepared: str
    load: Callable[[torch.device], nn.Module]
    flip: bool = False
    blueprint: Blueprint | None = None

    def columns(self, labels: LabelSpace) -> list[int]:
        """Return the columns of the logits of `labels`, in their order.

        Raises:
            UserError: A class has no logit, or two.
        """
        columns = columns_of(self.classes, labels)
        known = [column for column in columns if column is not None]
        if unknown := [id for id, column in zip(labels.ids, columns, strict=True) if column is None]:
            some = ", ".join(unknown[:NAMED]) + (" ..." if len(unknown) > NAMED else "")
            own = ", ".join(self.classes[:NAMED]) + (" ..." if len(self.classes) > NAMED else "")
            raise UserError(
                f"the model {self.name} does not know {len(unknown)} of the {len(labels)} classes of this data: {some}."
                f" Its own are {own}; leave the model out, or take data of its classes"
            )
        if twin := find_equal_names(self.classes, labels.ids):
            one, two = twin
            raise UserError(
                f"the model {self.name} has two logits for one class: {self.classes[one]!r}, numbers {one} and {two}: "
                "give each a name of its own with --labels, or leave the model out"
            )
        return known

    def logits(
        self,
        network: nn.Module,
        images: ImageSet,
        batch_size: int,
        device: torch.device,
        seen: Callable[[int], None] = lambda count: None,
    ) -> np.ndarray:
        """Return the logits, float32 [N, K], of `network`, which `load` returned, as `predict_together` does."""
        from genrobust.classifiers.logits import predict_together

        how = (batch_size, device, seen, self.flip, [self.name])
        return predict_together([network], images, self.prepare, *how)[0]


def open_checkpoint(folder: Path, settings: EvaluateConfig = SINGLE_CROP) -> OpenClassifier:
    """Open the genrobust checkpoint in `folder`, for images that are prepared as `settings` say.

    Raises:
        UserError: There is no finished checkpoint. When it is loaded: its network takes no images of that size.
        GenrobustError: It is damaged.
    """
    info = check_weights(folder)
    size = settings.image_size or info.image_size

    def load(device: torch.device) -> nn.Module:
        from genrobust.classifiers.architectures import has_fixed_size
        from genrobust.classifiers.models import load_checkpoint

        if size != info.image_size and has_fixed_size(info.architecture):
            raise UserError(
                f"evaluate.image_size: {info.architecture} takes images of the {info.image_size} px that it was "
                f"trained on alone, not of {size}: leave the key out"
            )
        return load_checkpoint(folder, device)[0]

    blueprint = Blueprint(info.architecture, info.model_kwargs, info.image_size, info.interpolation)
    as_prepared = _prepared_by(settings, size, info.interpolation)
    weights = weights_hash(folder)
    return OpenClassifier(str(folder), info.classes, weights, load=load, blueprint=blueprint, **as_prepared)


def open_zero_shot(
    clip: Path, texts: Sequence[Sequence[str]], classes: Sequence[str], settings: EvaluateConfig, image_size: int
) -> OpenClassifier:
    """Open the CLIP in the folder `clip` as the zero-shot classifier of Radford et al. 2021.

    Args:
        texts: One or more for each of `classes`, whose ids these are.
        settings: How images are prepared, as for the study's classifiers.
        image_size: The size at which those train, in pixels.

    Raises:
        UserError: When it is loaded: the CLIP takes images of another size than the classifiers are evaluated at.
    """
    size = settings.image_size or image_size

    def load(device: torch.device) -> nn.Module:
        from genrobust.classifiers.clip import ZeroShot, load_clip

        model = load_clip(clip, device)
        if model.image_size != size:
            raise UserError(
                f"the CLIP in {clip} sees images of {model.image_size} px and the classifiers of {size} px, so their "
                "accuracies do not compare: name another under zero_shot.clip, or change evaluate.image_size"
            )
        return ZeroShot(model, texts)

    weights = digest([hash_clip(clip), texts])
    name, as_prepared = f"the CLIP in {clip}", _prepared_by(settings, size)
    return OpenClassifier(name, tuple(classes), weights, load=load, **as_prepared)


def _prepared_by(settings: EvaluateConfig, size: int, interpolation: str = BICUBIC) -> dict[str, Any]:
    as_prepared = partial(prepare, size=size, crop_pct=settings.crop_pct, interpolation=interpolation)
    words = protocol(size, settings.crop_pct, settings.flip, interpolation)
    return {"prepare": as_prepared, "prepared": words, "flip": settings.flip}
