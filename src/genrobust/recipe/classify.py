"""Arms: mixtures of images, training on them, evaluation, and the baseline line."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from genrobust.recipe.augmentation import Augmentation, AugmentationName
from genrobust.recipe.fine_tuning import FineTuning
from genrobust.recipe.names import Name
from genrobust.recipe.numbers import (
    Average,
    Batch,
    Between,
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
from genrobust.recipe.section import Overrides, PlainValues, Section, later_key


def _check_mixing(alpha: float) -> float:
    if 0 < alpha < LEAST_MIXING:
        raise ValueError(f"0 turns it off, and a smaller alpha than {LEAST_MIXING} mixes nothing (got {alpha:g})")
    return alpha


LEAST_MIXING = 0.001
Mixing = Annotated[float, Between(0, 1000, "larger ones mix all images half and half"), AfterValidator(_check_mixing)]
LENGTHS = (("steps", "epochs"), ("warmup_steps", "warmup_epochs"))  # a recipe gives either of each
# Augmentations that combine with any policy and with each other, under their names in timm; 0 turns one off.
COMBINED = ("mixup", "cutmix", "random_erasing", "color_jitter", "grayscale")


class TrainConfig(FineTuning):
    """Training of a classifier; the same for every arm, unless the arm overrides it.

    The length is either `steps` or `epochs`. As in papers, an epoch is a pass over as many images as the arm's mixture
    has, so an arm with more images trains longer. `validate_every` and `save_every` always count steps.

    The learning rate rises linearly over `warmup_steps` or `warmup_epochs` (half of a training that is no longer than
    that), then decays to reach zero after the last step: along half a cosine, or linearly with `schedule: linear`. The
    linear schedule is FFCV's "cyclic", which starts from a ten-thousandth of `learning_rate`.

    `optimizer: sgd` uses Nesterov momentum, as in timm; `momentum` is SGD with plain momentum, as in PyTorch.
    `weight_decay` skips biases and one-dimensional parameters, as in timm. `no_decay` instead skips the parameters
    whose names in the network contain one of its texts: `[bn]` is FFCV's rule, and `[]` decays all.

    `keep: best` keeps the checkpoint with the best validation top-1, `last` that of the last step, which needs no
    validation images (`data.held_out: 0`).

    `crop` chooses the random crop. `square` first resizes and crops an image to `image_size` pixels, then keeps 60 to
    100 % of its area, which suits drawings and subjects that fill the image. `random-resized` keeps 8 to 100 % of the
    image in its original size, as is usual for photographs, and decodes it at every use. With `start_size`, images
    start at that many pixels and grow to `image_size` late in training (progressive resizing).

    `augmentation` is the policy. All policies except `none` crop and mirror; `standard` does nothing else. With both
    `mixup` and `cutmix`, each batch uses one of them, with equal probability.
    `drawing-styles` redraws black line drawings in other styles: domain knowledge, as a baseline for generated images.
    `augmentation_share` is the share of the images that a policy changes; the others are only cropped and mirrored.

    `blur_pool` low-pass filters the input of every convolution that has a stride and 16 input channels or more (Zhang,
    2019, as in FFCV). AlexNet and VGG have none. timm cannot load such a network: export it to ONNX.

    `precision` is that of autocast; weights and optimizer are float32. `auto` is the fastest that the hardware
    supports: bfloat16, else float16, and float32 on a CPU without bfloat16 instructions. With float16 the loss is
    scaled, and a step whose gradients overflow is skipped.
    `compile` (`torch.compile`) takes about a minute for each image size, and changes the weights only by rounding.

    With `workers` above 1, that many processes, here or on Ray, train each classifier together, each on its own device
    (data parallel, PyTorch's DDP). `batch_size` stays the total: each worker trains on an equal part of every batch,
    and gradients are averaged. Batch norm and mixing see only the worker's part, so the checkpoint differs from that of
    one worker, and has another folder.

    The keys from `init` to `wise_ft` are for pretrained networks, which have a page of their own in the documentation.
    """

    chosen_by = "method"

    architecture: str = "resnet10t"  # any timm name, or one of the paper's: resnext50, alexnet ...
    model_kwargs: PlainValues = Field(default_factory=dict)  # for timm's constructor: channels, drop_path_rate ...
    image_size: Pixels = 64
    start_size: Pixels | None = None
    crop: Literal["square", "random-resized"] = "square"
    steps: Steps | None = 600  # None with `epochs`
    epochs: Epochs | None = None
    batch_size: Annotated[int, Between(2, 65_536, "batch norm takes two, and memory holds no more")] = 128
    optimizer: Literal["adamw", "sgd", "momentum"] = "adamw"
    learning_rate: Rate = 2e-3
    schedule: Literal["cosine", "linear"] = later_key("cosine")
    weight_decay: Decay = 0.05
    no_decay: tuple[Name, ...] | None = later_key(None)
    momentum: Fraction = 0.9  # only for SGD
    warmup_steps: WarmupSteps | None = 50  # None with `warmup_epochs`
    warmup_epochs: Epochs | None = later_key(None)
    label_smoothing: Annotated[float, Between(0, 1, "at 1, nothing is left of the labels", below=True)] = 0.1
    ema_decay: Average = 0.99  # 0 turns the weight average off
    augmentation: AugmentationName = Field(
        default_factory=Augmentation
    )  # or none, autoaugment, randaugment, trivialaugment, augmix, drawing-styles ...
    augmentation_share: PositiveFraction = later_key(1.0)
    mixup: Mixing = 0.0  # alpha of the Beta distribution of the mixing weight; so is cutmix
    cutmix: Mixing = 0.0
    random_erasing: Fraction = 0.0  # probability for each image; so is grayscale
    color_jitter: Annotated[float, Between(0, 10, "more leaves black or white")] = (
        0.0  # brightness, contrast and saturation, by up to this factor
    )
    grayscale: Fraction = 0.0
    blur_pool: bool = later_key(False)
    workers: WorkerCount = later_key(1)  # more than 1 train it together
    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    compile: bool = later_key(False)
    keep: Literal["best", "last"] = later_key("best")
    validate_every: Steps = 200  # steps
    save_every: Steps = 200  # steps; a killed run loses at most these

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
        if self.layer_decay != 1 and self.no_decay is not None:
            raise ValueError("layer_decay: it uses timm's own weight decay rule, not no_decay: set only one")
        if self.augmentation_share < 1 and not self.augmentation.changes:
            raise ValueError(f"augmentation_share: {self.augmentation} is no policy that could change a share")
        if self.start_size is not None and (self.crop == "square" or self.start_size > self.image_size):
            raise ValueError("start_size needs crop: random-resized, and must not exceed image_size")
        return self

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


SHARED = {"balance", "after", "until"}  # keys of a part that has a share of the batch


class LabelsConfig(Section):
    """Soft labels, made by the classifier that another arm trains from the same seed, before this one.

    The loss of an image is the cross-entropy with the probabilities that the classifier of `arm` gives it: the softmax
    of its logits, divided by `temperature`. They are computed once, before the first step, for the center crop of each
    image of the part, at the size that the classifier trained on, and kept in memory: 4 bytes for each image and class.
    `label_smoothing` leaves them as they are.

    This is knowledge distillation (Hinton et al., 2015, arXiv:1503.02531), with the part's images as the transfer set;
    for generated ones see Li et al. (2023, arXiv:2305.12954). Unlike in Hinton et al., the logits of the network that
    learns are not divided by the temperature, so that Mixup can mix these images with others.
    """

    arm: Name
    temperature: Annotated[float, Between(0, 1000, "higher ones leave nothing of the logits", above=True)] = 1.0


class MixturePart(Section):
    """A part of an arm's training images.

    `source` is real, generated, the name of one of the recipe's `datasets` or of `data.extra`, retrieved (as many
    images of each class and style as were generated, from the generator's training data), retrieved-by-class (as many
    of each class, in any style) or retrieved-by-search (what a CLIP finds for each class among unlabeled images, the
    nearest first). These three are described under `data.retrieved`. `per_class` limits the images of each class (of
    generated ones, to the first); `fraction` takes that fraction of each class. `weight` is the relative share of every
    batch; None means in proportion to the number of images, as in a plain concatenation.

    `balance` draws images of each class, of each style, or of each class in each style that it has, equally often; an
    image comes again when all of its kind have come.

    `loss_weight` is how much the loss of an image counts, relative to those of other parts: the loss of a batch is the
    sum of its weighted losses divided by the sum of their weights. With equal shares, loss weights of 0.8 and 0.2 are
    0.8 times the mean loss of one part plus 0.2 times that of the other, as in DataDream (Kim et al., 2024,
    arXiv:2407.10910).

    `after` and `until` are shares of the training. Outside of them the part has no images in a batch, and the others
    share it by their weights. `labels` replaces the labels by soft ones. The probe of `method: lp-ft` takes each image
    once, by `weight` alone.
    """

    source: Name
    per_class: Count | None = None
    fraction: PositiveFraction | None = None
    weight: Annotated[float, Between(1e-6, 1e6, "a batch cannot hold such unequal shares")] | None = None
    balance: tuple[Literal["class", "style"], ...] = later_key(())
    loss_weight: Annotated[float, Between(1e-6, 1e6, "other images would not count")] = later_key(1.0)
    after: Annotated[float, Between(0, 1, "it is a share of the training", below=True)] = later_key(0.0)
    until: PositiveFraction = later_key(1.0)
    labels: LabelsConfig | None = later_key(None)

    @property
    def drawing(self) -> dict[str, Any]:
        """The keys that say how its images are drawn and learned from, where they differ from their defaults."""
        return self.model_dump(include={"balance", "loss_weight", "after", "until", "labels"}, exclude_defaults=True)

    @property
    def drawing_in_words(self) -> str:
        """Describe `drawing`: "balanced by class, until 75 % of the training", or "" for the defaults."""
        words = {
            "balance": f"balanced by {' and '.join(self.balance)}",
            "loss_weight": f"loss weight {self.loss_weight:g}",
            "after": f"after {100 * self.after:g} % of the training",
            "until": f"until {100 * self.until:g} % of the training",
            "labels": self.labels and f"labels by {self.labels.arm}, temperature {self.labels.temperature:g}",
        }
        return ", ".join(str(words[key]) for key in words if key in self.drawing)


class ArmConfig(Section):
    """A named mixture to train on. `train` overrides keys of the study's train section for this arm.

    The arms of a `group` are averaged in the report: one mixture with several architectures, for example. `reference`
    is the arm that this one is compared with; None means the recipe's. An arm that names itself is compared with none.
    A group is compared if all its arms have the same reference, or the arms of one other group as references.
    """

    name: Name
    mixture: tuple[MixturePart, ...]
    train: Annotated[PlainValues, Overrides(TrainConfig)] = Field(default_factory=dict)
    group: Name | None = None
    reference: Name | None = None

    @field_validator("mixture", mode="before", json_schema_input_type=str | tuple[str | MixturePart, ...])
    @classmethod
    def _accept_names(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [value]
        return [{"source": v} if isinstance(v, str) else v for v in value] if isinstance(value, list) else value

    @model_validator(mode="after")
    def _check_mixture(self) -> ArmConfig:
        sources = [p.source for p in self.mixture]
        if not sources or len(set(sources)) != len(sources):
            raise ValueError(f"arm {self.name!r}: mixture: name one source or more, each once")
        if len({part.weight is None for part in self.mixture}) > 1:
            raise ValueError(f"arm {self.name!r}: mixture: give every source a weight, or none")
        for part in self.mixture:
            where = f"arm {self.name!r}: mixture: {part.source}"
            if part.after >= part.until:
                raise ValueError(f"{where}: after: {part.after:g} is no share before until, {part.until:g}")
            if part.weight is None and len(sources) > 1 and (keys := part.drawing.keys() & SHARED):
                raise ValueError(f"{where}: {min(keys)}: it needs a share of the batch: give every source a weight")
        for begin, end in pairwise(sorted({0.0, 1.0, *(t for part in self.mixture for t in (part.after, part.until))})):
            if not any(part.after <= begin and end <= part.until for part in self.mixture):
                raise ValueError(
                    f"arm {self.name!r}: mixture: no source is mixed from {begin:g} to {end:g}: change after or until"
                )
        return self


class ZeroShotConfig(Section):
    """A zero-shot classifier beside the arms: a CLIP that was trained on other data, given the class names.

    `clip` is a folder, or "pictograms", the embedded one. The texts of a class are the recipe's prompts.
    """

    clip: str


class EvaluateConfig(Section):
    """How predictions are made. `batch_size` changes results only by rounding.

    `image_size` is in pixels; None takes the training size. `crop_pct` is the share of an image's shorter side that
    the center crop keeps; most published ImageNet accuracies use 0.875. `flip` averages the logits over an image and
    its mirror image. These choices are stored with every score. The shifts in `beside` are scored, but left out of the
    mean.

    `adapt: batch-norm` also scores each arm's classifiers with batch norms adapted to the unlabeled images of each test
    set, as the metric `top1_adapted` (Schneider et al., 2020): what one gains who has many unlabeled images where the
    classifier is used. The other metrics stay as they are.
    """

    batch_size: Batch = 256
    image_size: Pixels | None = None
    crop_pct: Annotated[float, Between(0.1, 1, "images are resized to image_size / crop_pct pixels")] = 1
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
    """The baseline line. `baselines` names the standard models that it is fitted on.

    "shipped" are those that come with genrobust for the data source: a table for "pictograms", the published lines
    over all of its classes for "imagenet", and none for folders. Otherwise `baselines` is a CSV file
    (model,test_set,clean,shifted and, where known, architecture) or None.

    `grid` is the number of small standard models to train on the real data if there is no table; 0 trains none.
    """

    baselines: str | None = "shipped"
    transform: Literal["logit", "probit", "linear"] = "logit"
    grid: Annotated[int, Between(0, 100, "the grid is smaller")] = 0
    bootstrap: Annotated[
        int, Between(100, 100_000, "fewer resamples give no interval, and more give no better one")
    ] = 1000
