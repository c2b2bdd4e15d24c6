"""Arms: mixtures of images, training on them, evaluation, and the baseline line."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StrictFloat, StrictInt, field_validator, model_validator

from genrobust.recipe.augmentation import Augmentation, AugmentationName
from genrobust.recipe.fine_tuning import FineTuning
from genrobust.recipe.names import Name
from genrobust.recipe.numbers import (
    Average,
    Batch,
    Count,
    Decay,
    Epochs,
    Fraction,
    Pixels,
    PositiveFraction,
    Rate,
    Steps,
    WarmupSteps,
    WorkerCount,
)
from genrobust.recipe.section import PlainValues, Section, later_key

AVERAGE_POWER = 2 / 3  # of the steps, in the bound of timm's ModelEmaV3 on its decay
# Of a ResNet at 16 px, the last maps have 1 px, where gradients of PyTorch 2.13 are wrong in bfloat16 on a CPU.
StartSize = Annotated[StrictInt, Field(ge=32, le=4096)]
Mixing = Annotated[StrictFloat, Field(ge=0, le=1000)]
LENGTHS = (("steps", "epochs"), ("warmup_steps", "warmup_epochs"))  # a recipe gives either of each
# Augmentations that combine with any policy and with each other, under their names in timm; 0 turns one off.
COMBINED = ("mixup", "cutmix", "random_erasing", "color_jitter", "grayscale")


class TrainConfig(FineTuning):
    """Training of a classifier; the same for every arm, unless the arm overrides it.

    `epochs` is the length instead of `steps`. An epoch is a pass over as many images as the arm's mixture has, so an
    arm with more images trains longer.

    `warmup_steps` is how long the learning rate rises, linearly; in a shorter training, half of its steps. It then
    decays to zero: along half a cosine, or linearly with `schedule: linear` (FFCV's "cyclic", which starts from a
    ten-thousandth).

    `optimizer: sgd` has Nesterov momentum, as in timm; `momentum` is PyTorch's plain one.

    `weight_decay` skips biases and one-dimensional parameters, as in timm.

    `no_decay` instead skips the parameters whose names contain one of these texts: `[bn]` is FFCV's rule, `[]` decays
    all.

    `keep: last` keeps the averaged weights of the last step, and needs no validation images (`data.held_out: 0`).
    `best` keeps those with the best validation top-1; with fewer than some thousands of validation images, chance
    chooses.

    `ema_decay` is the decay of that average. At each step it is at most 1 - step^(-2/3), as in timm: 0.986 at step 600,
    0.999 at 31,600. A higher decay than that of the last step changes nothing.

    `crop: square` resizes and crops an image to `image_size`, then keeps 60 to 100 % of its area, for drawings and
    subjects that fill the image. `random-resized` keeps 8 to 100 % of the original image, as usual for photographs, and
    decodes it at every use.

    `start_size` is the size at first, which grows to `image_size` late in training (progressive resizing).

    `augmentation` is the policy. All but `none` crop and mirror; `standard` does nothing else.

    `augmentation_share` is the share of the images that the policy changes; the others are cropped and mirrored.

    `cutmix` is its alpha. With `mixup` too, each batch uses one of them.

    `blur_pool` low-pass filters the input of convolutions with a stride and 16 input channels or more (Zhang, 2019, as
    in FFCV). timm cannot load such a network: export it to ONNX.

    `precision` is that of autocast; weights and optimizer are float32. `auto` is bfloat16, else float16 (with a scaled
    loss), and float32 on a CPU without bfloat16 instructions.

    `compile` (`torch.compile`) takes about a minute for each image size, and changes weights by rounding.

    `workers` share every batch, whose total size stays (PyTorch's DDP). Batch norm and mixing see a worker's part only,
    so the checkpoint has another folder.
    """

    chosen_by = "method"

    architecture: str = "resnet10t"  # any timm name, or one of the paper's: resnext50, alexnet ...
    model_kwargs: PlainValues = Field(default_factory=dict)  # for timm's constructor: channels, drop_path_rate ...
    image_size: Pixels = 64
    start_size: StartSize | None = None
    crop: Literal["square", "random-resized"] = "square"
    steps: Steps | None = 600  # None with `epochs`
    epochs: Epochs | None = None
    batch_size: Annotated[StrictInt, Field(ge=2, le=65_536)] = 128
    optimizer: Literal["adamw", "sgd", "momentum"] = "adamw"
    learning_rate: Rate = 2e-3
    schedule: Literal["cosine", "linear"] = later_key("cosine")
    weight_decay: Decay = 0.05
    no_decay: tuple[Name, ...] | None = later_key(None)
    momentum: Fraction = 0.9  # only for SGD
    warmup_steps: WarmupSteps | None = 50  # None with `warmup_epochs`
    warmup_epochs: Epochs | None = later_key(None)
    label_smoothing: Annotated[StrictFloat, Field(ge=0, lt=1)] = 0.1
    ema_decay: Average = 0.99  # 0 turns the weight average off
    augmentation: AugmentationName = Field(default_factory=Augmentation)  # a name, such as randaugment
    augmentation_share: PositiveFraction = later_key(1.0)
    mixup: Mixing = 0.0  # alpha of the Beta distribution of the mixing weight; so is cutmix
    cutmix: Mixing = 0.0
    random_erasing: Fraction = 0.0  # probability for each image; so is grayscale
    color_jitter: Annotated[StrictFloat, Field(ge=0, le=10)] = (
        0.0  # brightness, contrast and saturation, by up to this factor
    )
    grayscale: Fraction = 0.0
    blur_pool: bool = later_key(False)
    workers: WorkerCount = later_key(1)
    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    compile: bool = later_key(False)
    keep: Literal["best", "last"] = "last"
    validate_every: Steps = 200  # steps
    save_every: Steps | None = None  # steps; None: each minute. A killed run loses at most these

    @model_validator(mode="before")
    @classmethod
    def _drop_default_steps(cls, value: Any) -> Any:
        if isinstance(value, dict):
            in_epochs = [steps for steps, epochs in LENGTHS if value.get(epochs) is not None]
            return {**dict.fromkeys(in_epochs), **value}
        return value

    @model_validator(mode="after")
    def _check_together(self) -> TrainConfig:
        for steps, epochs in LENGTHS:
            if (getattr(self, steps) is None) == (getattr(self, epochs) is None):
                raise ValueError(f"give either {steps} or {epochs}, and set the other to null or leave it out")
        if self.batch_size % self.workers:
            raise ValueError(
                f"workers: {self.workers} cannot share a batch_size of {self.batch_size} equally: make batch_size a "
                "multiple of workers"
            )
        if self.batch_size // self.workers < 2:
            raise ValueError("workers: each would get one image of a batch, and batch norm needs two: use fewer")
        if self.crop == "random-resized" and not self.augmentation.crops:
            raise ValueError("crop: random-resized is an augmentation, which augmentation: none excludes")
        if self.optimizer == "sgd" and self.momentum == 0:
            raise ValueError("momentum: sgd is Nesterov's, which needs some: for none, set optimizer to momentum")
        if self.optimizer == "adamw" and self.momentum != type(self).model_fields["momentum"].default:
            raise ValueError("momentum: adamw has none: leave it out, or set optimizer")
        if self.augmentation_share < 1 and not self.augmentation.changes:
            raise ValueError(f"augmentation_share: {self.augmentation} is no policy that could change a share")
        if self.start_size is not None and (self.crop == "square" or self.start_size > self.image_size):
            raise ValueError("start_size needs crop: random-resized, and must not exceed image_size")
        return self

    @property
    def effective(self) -> Self:
        """The settings as they act: with the highest `ema_decay` that a training of `steps` reaches."""
        if self.steps is None:
            return self
        return self.model_copy(update={"ema_decay": min(self.ema_decay, 1 - self.steps**-AVERAGE_POWER)})

    def size_at(self, step: int, steps: int) -> int:
        """The image size in pixels at `step` (from 0) of `steps`.

        It grows in multiples of 32 between 74 and 86 % of the steps, as in FFCV: from epoch 65 to 76 of 88.
        """
        if self.start_size is None:
            return self.image_size
        begin, end = 65 / 88, 76 / 88
        grown = min(max((step / steps - begin) / (end - begin), 0), 1)
        if grown in (0, 1):
            return self.image_size if grown else self.start_size
        size = self.start_size + grown * (self.image_size - self.start_size)
        return min(max(32 * round(size / 32), self.start_size), self.image_size)

    def steps_for(self, images: int) -> int:
        """The number of training steps on a mixture of so many images; a linear probe goes through them once."""
        if self.probes == "only":
            return math.ceil(images / self.batch_size)
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None  # _check_together
        return math.ceil(self.epochs * images / self.batch_size)

    def warmup_for(self, images: int) -> int:
        """The number of steps, on a mixture of so many images, in which the learning rate rises."""
        asked, steps = self.warmup_steps, self.steps_for(images)
        if asked is None:
            assert self.warmup_epochs is not None  # _check_together
            asked = round(self.warmup_epochs * images / self.batch_size)
        return asked if asked < steps else steps // 2

    @property
    def network_kwargs(self) -> dict[str, Any]:
        """The arguments that `create_classifier` makes the network with, as a checkpoint stores them."""
        return {**self.model_kwargs, "blur_pool": True} if self.blur_pool else self.model_kwargs

    @property
    def augmented(self) -> str:
        """Every augmentation in words: "standard", or "randaugment, mixup 0.2, random erasing 0.25"."""
        if self.probes == "only":
            return "none"
        combined = {key.replace("_", " "): getattr(self, key) for key in COMBINED}
        policy = str(self.augmentation)
        policy += f" of {100 * self.augmentation_share:g} %" if self.augmentation_share < 1 else ""
        return ", ".join([policy, *(f"{name} {value:g}" for name, value in combined.items() if value)])

    def network_in_words(self, alpha: float = 1) -> str:
        """The network and its start: "resnet50, from pretrained, linear probe"; `alpha` is that of WiSE-FT."""
        mixed = "" if alpha == 1 else f"WiSE-FT {alpha:g}"
        return ", ".join(filter(None, [self.architecture, self.start_in_words, mixed]))


DRAWING = {"balance", "cells"}  # keys that say which images are drawn, and how


class MixturePart(Section):
    """A part of an arm's training images.

    `source` is real, generated, one of the recipe's `datasets` or of `data.extra`, retrieved (as many images of each
    class and style as were generated, from the generator's training data), retrieved-by-class (in any style),
    retrieved-by-search (what a CLIP finds among unlabeled images), retrieved-all (all labeled images to retrieve) or
    retrieved-withheld (those that `data.retrieved.without` excludes).

    `cells: withheld` takes only images of the classes in styles that are excluded: what fills that hole.

    `per_class` limits the images of each class.

    `fraction` takes this fraction of each class.

    `weight` is the relative share of every batch; None is in proportion to the number of images, as in a plain
    concatenation.

    `balance` draws each class, each style, or each class in each style that it has, equally often.
    """

    source: Name
    cells: Literal["all", "withheld"] = later_key("all")
    per_class: Count | None = None
    fraction: Annotated[PositiveFraction | None, AfterValidator(lambda share: None if share == 1 else share)] = None
    weight: Annotated[StrictFloat, Field(ge=1e-6, le=1e6)] | None = None
    balance: tuple[Literal["class", "style"], ...] = later_key(())

    @property
    def drawing(self) -> dict[str, Any]:
        """The keys that say how its images are drawn, where they differ from their defaults."""
        return self.model_dump(include=DRAWING, exclude_defaults=True)

    @property
    def drawing_in_words(self) -> str:
        """Describe `drawing`: "balanced by class", or "" for the defaults."""
        words = {
            "cells": "withheld cells alone",
            "balance": f"balanced by {' and '.join(self.balance)}",
        }
        return ", ".join(str(words[key]) for key in words if key in self.drawing)


class ArmConfig(Section):
    """A named mixture to train on.

    `train` overrides keys of the study's section `train`.

    `group` names arms that the report averages, such as one mixture with several architectures. A group is compared if
    its arms have one reference, or those of another group.

    `reference` is the arm that this one is compared with; None means the recipe's.
    """

    name: Name
    mixture: tuple[MixturePart, ...]
    train: PlainValues = Field(default_factory=dict)
    group: Name | None = None
    reference: Name | None = None

    @field_validator("mixture", mode="before")
    @classmethod
    def _accept_names(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [value]
        return [{"source": v} if isinstance(v, str) else v for v in value] if isinstance(value, list) else value

    @field_validator("mixture")
    @classmethod
    def _drop_idle_weight(cls, mixture: tuple[MixturePart, ...]) -> tuple[MixturePart, ...]:
        """A weight is relative: of a part alone it changes nothing, and the same training has one name."""
        return mixture if len(mixture) != 1 else (mixture[0].model_copy(update={"weight": None}),)

    @model_validator(mode="after")
    def _check_mixture(self) -> ArmConfig:
        sources = [p.source for p in self.mixture]
        if not sources or len(set(sources)) != len(sources):
            raise ValueError(f"arm {self.name!r}: mixture: name one source or more, each once")
        if len({part.weight is None for part in self.mixture}) > 1:
            raise ValueError(f"arm {self.name!r}: mixture: give every source a weight, or none")
        for part in self.mixture:
            if part.weight is None and len(sources) > 1 and part.balance:
                raise ValueError(
                    f"arm {self.name!r}: mixture: {part.source}: balance: it needs a share of the batch: give every "
                    "source a weight"
                )
        return self


class ZeroShotConfig(Section):
    """A zero-shot classifier beside the arms: a CLIP that was trained on other data, given the class names.

    `clip` is a folder, or "pictograms", the embedded one. The texts of a class are the recipe's prompts.
    """

    clip: str


class EvaluateConfig(Section):
    """How predictions are made. These choices are stored with every score.

    `image_size` is in pixels; None takes the training size, then the same for all arms.

    `crop_pct` is the share of the shorter side that the center crop keeps; most published ImageNet accuracies use
    0.875.

    `flip` averages the logits over an image and its mirror image.

    `beside` are shifts that are scored, but left out of the mean.

    `adapt: batch-norm` also scores classifiers with batch norms adapted to up to 256 unlabeled images of each test
    set, as the metric `top1_adapted` (Schneider et al., 2020).
    """

    batch_size: Batch = 256
    image_size: Pixels | None = None
    crop_pct: Annotated[StrictFloat, Field(ge=0.1, le=1)] = 1
    flip: bool = False
    tests: tuple[str, ...] | None = None  # None: all test sets
    beside: tuple[str, ...] = ()
    adapt: Literal["batch-norm"] | None = None
    min_images: Count = 150  # a smaller shifted set is reported, but left out of the mean

    @property
    def protocol(self) -> dict[str, Any]:
        """The keys that change predictions and differ from their defaults."""
        return self.model_dump(include={"image_size", "crop_pct", "flip"}, exclude_defaults=True)


class RobustnessConfig(Section):
    """The baseline line for effective robustness, and the number of resamples.

    `baselines: shipped` are the baseline models that come with genrobust: a table for "pictograms", published lines for
    all classes of "imagenet", none for folders. Otherwise it is a CSV file (model,test_set,clean,shifted and, where
    known, architecture) or None. `clean` is the accuracy over the classes of `test_set`.

    `grid` is the number of small baseline models to train instead, on the real images and from scratch.

    `bootstrap` is the number of resamples.
    """

    baselines: str | None = "shipped"
    transform: Literal["logit", "probit", "linear"] = "logit"
    grid: Annotated[StrictInt, Field(ge=0, le=100)] = 0
    bootstrap: Annotated[StrictInt, Field(ge=100, le=100_000)] = 1000

    @model_validator(mode="after")
    def _check_one_line(self) -> RobustnessConfig:
        if self.grid and self.baselines not in (None, "shipped"):
            raise ValueError(f"grid: {self.grid} models would take the place of baselines: leave one of the two out")
        return self
