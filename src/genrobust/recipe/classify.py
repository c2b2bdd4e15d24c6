"""How classifiers are trained on mixtures, asked and scored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from genrobust.core import REAL
from genrobust.recipe.section import Fraction, Positive, Section

# Augmentations that go with any policy and with each other, as timm names them; 0 leaves one out.
COMBINED = ("mixup", "cutmix", "random_erasing", "color_jitter", "grayscale")


class TrainConfig(Section):
    """How a classifier is trained; the same for every arm unless the arm says otherwise.

    Its length is either `steps` or `epochs`, which are passes over as many images as the arm's mixture has: as papers
    count it, and an arm with more images then trains longer. `warmup_steps`, `validate_every` and `save_every` are
    steps in any case.

    `crop` says what is cropped at random: `square`, an image resized and cut to `image_size` pixels, of whose area 60
    to 100 % stay, as suits drawings and what fills an image; or `random-resized`, an image in its own size, of which 8
    to 100 % stay, as classifiers of photographs are trained. The latter is decoded anew at every use. With `start_size`
    images begin at so many pixels and grow to `image_size` late in the training (progressive resizing: see `size_at`).

    `augmentation` is the policy; `standard` alone crops and mirrors, which all others but `none` do too. With both
    `mixup` and `cutmix`, each batch takes one of them, at even odds.

    `split_batchnorm` gives the images of every source but `real` batch-norm statistics and affine parameters of their
    own, which are dropped after training (AdvProp, Xie et al., 2020; for generated images, Yu et al., 2023,
    arXiv:2312.02253): the classifier has those of the real images. Mixup and CutMix then stay within either kind.

    `precision` is that of autocast; weights and optimizer are float32. `auto` is what the hardware computes at full
    speed: bfloat16, else float16, and on a CPU without bfloat16 instructions float32, as for networks with depthwise
    convolutions on any CPU. With float16 the loss is scaled, and a step whose gradients overflow is skipped.

    With more than one of `workers`, as many processes of a Ray cluster train each classifier together, on a device each
    (data parallel, PyTorch's DDP). `batch_size` stays the whole: every worker learns from as many images of each batch,
    and their gradients are averaged. Batch norms and mixing know those of their own worker alone, so it is another
    training than that of one worker, and has another folder.
    """

    architecture: str = "resnet10t"  # any timm name, or the paper's: resnext50, alexnet ... (see architectures.py)
    model_kwargs: dict[str, Any] = Field(default_factory=dict)  # for timm's constructor: channels, drop_path_rate ...
    image_size: Positive = 64
    start_size: Positive | None = None
    crop: Literal["square", "random-resized"] = "square"
    steps: Positive | None = 600  # None where `epochs` says it
    epochs: Annotated[float, Field(gt=0)] | None = None
    batch_size: Positive = 128
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    momentum: Fraction = 0.9  # SGD alone
    warmup_steps: Annotated[int, Field(ge=0)] = 50
    label_smoothing: Fraction = 0.1
    ema_decay: Fraction = 0.99  # 0 turns the weight average off
    augmentation: Literal["standard", "none", "autoaugment", "randaugment", "trivialaugment", "augmix"] = "standard"
    mixup: Annotated[float, Field(ge=0)] = 0.0  # alpha of the Beta distribution of the share of an image; so is cutmix
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    random_erasing: Fraction = 0.0  # the probability for each image; so is grayscale
    color_jitter: Annotated[float, Field(ge=0)] = 0.0  # brightness, contrast and saturation, by up to this factor
    grayscale: Fraction = 0.0
    split_batchnorm: bool = False
    workers: Positive = Field(default=1, exclude_if=lambda workers: workers == 1)  # above 1 with `--executor ray` alone
    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    validate_every: Positive = 200  # steps; the best checkpoint by validation top-1 is kept
    save_every: Positive = 200  # steps; a killed run loses at most these

    @model_validator(mode="before")
    @classmethod
    def _epochs_in_place_of_the_default(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("epochs") is not None:
            return {"steps": None, **value}
        return value

    @model_validator(mode="after")
    def _one_length(self) -> TrainConfig:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs, and leave the other out or set it to null")
        return self

    @model_validator(mode="after")
    def _workers_share_a_batch(self) -> TrainConfig:
        if self.batch_size % self.workers:
            raise ValueError(
                f"workers: {self.workers} cannot share a batch_size of {self.batch_size} equally: make batch_size a "
                "multiple of workers"
            )
        return self

    @model_validator(mode="after")
    def _sizes_fit_the_crop(self) -> TrainConfig:
        if self.crop == "random-resized" and self.augmentation == "none":
            raise ValueError("crop: random-resized is an augmentation, and augmentation: none wants none")
        if self.start_size is not None and (self.crop == "square" or self.start_size > self.image_size):
            raise ValueError("start_size is for crop: random-resized, and no larger than image_size")
        return self

    def size_at(self, step: int, steps: int) -> int:
        """The images' size in pixels at `step` (from 0) of `steps`.

        It grows in multiples of 32 between 74 and 86 % of them: FFCV's ramp, from epoch 65 to 76 of 88.
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
        """The steps that a training on a mixture of so many images takes."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None  # one of them is there
        return math.ceil(self.epochs * images / self.batch_size)

    @property
    def augmented(self) -> str:
        """Every augmentation in words: "standard", or "randaugment, mixup 0.2, random erasing 0.25"."""
        combined = {key.replace("_", " "): getattr(self, key) for key in COMBINED}
        return ", ".join([self.augmentation, *(f"{name} {value:g}" for name, value in combined.items() if value)])

    def unsplittable(self, sources: Sequence[str], weighted: bool) -> str | None:
        """Why `split_batchnorm` cannot train on a mixture of `sources`, in words; None where it can, or is off."""
        if not self.split_batchnorm:
            return None
        if REAL not in sources:
            return f"split_batchnorm keeps the batch norms of real images, and the mixture has none: add {REAL}"
        if len(sources) == 1:
            return "split_batchnorm tells real images from others, and the mixture has real ones alone: leave it out"
        if not weighted:
            return "split_batchnorm needs as many images of each source in every batch: give each source a weight"
        return None


class MixturePart(Section):
    """A share of an arm's training images.

    `source` is real, generated, the name of one of the recipe's `datasets` or of the folders in `data.extra`, retrieved
    (as many images of each class and style from the generator's own training data) or retrieved-by-class (of each
    class, in any style). `per_class` takes at most so many of each class (a prefix of the generated ones); `fraction`
    takes that fraction of each class.
    `weight` is its share of every batch relative to the others'; None means in proportion to its number of images, as
    plain concatenation would.
    """

    source: str
    per_class: Positive | None = None
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    weight: Annotated[float, Field(gt=0)] | None = None


class ArmConfig(Section):
    """A named mixture to train on. `train` overrides keys of the study's train section for this arm.

    Arms of one `group` are one mixture with different architectures, or with whatever else the report averages over.
    `reference` is the arm that this one is compared with; None means the recipe's. An arm that names itself is compared
    with none. A group is compared where its arms are all compared with one arm, or with the arms of another group.
    """

    name: str
    mixture: tuple[MixturePart, ...]
    train: dict[str, Any] = Field(default_factory=dict)
    group: str | None = None
    reference: str | None = None

    @field_validator("mixture", mode="before")
    @classmethod
    def _names_are_parts(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [value]
        return [{"source": v} if isinstance(v, str) else v for v in value] if isinstance(value, list) else value

    @model_validator(mode="after")
    def _sources_once(self) -> ArmConfig:
        sources = [p.source for p in self.mixture]
        if not sources or len(set(sources)) != len(sources):
            raise ValueError(f"arm {self.name!r}: the mixture names each source once, and at least one")
        if len({part.weight is None for part in self.mixture}) > 1:
            raise ValueError(f"arm {self.name!r}: give every part of the mixture a weight, or none")
        return self


class ZeroShotConfig(Section):
    """A CLIP that answers for the classes by their names alone, beside the arms: it was trained on other data.

    `clip` is a folder, or "pictograms", the embedded one. The texts of a class are the recipe's prompts.
    """

    clip: str


class EvaluateConfig(Section):
    """How predictions are made. `batch_size` changes no figure beyond rounding.

    `image_size` is in pixels; None takes the training's. `crop_pct` is the share of an image's shorter side that the
    centre crop keeps, 0.875 in most published accuracies of ImageNet. `flip` averages the logits over an image and its
    mirror. What is chosen here is named in every score. The shifts in `beside` are scored and left out of the mean.
    """

    batch_size: Positive = 256
    image_size: Positive | None = None
    crop_pct: Annotated[float, Field(gt=0, le=1)] = 1
    flip: bool = False
    tests: tuple[str, ...] | None = None  # None: every test set of the data
    beside: tuple[str, ...] = ()
    min_images: Positive = 150  # a shifted set with fewer is reported and left out of the mean

    @property
    def protocol(self) -> dict[str, Any]:
        """The keys that change predictions, where they are not at their defaults."""
        return self.model_dump(include={"image_size", "crop_pct", "flip"}, exclude_defaults=True)


class RobustnessConfig(Section):
    """The baseline line. `baselines` are the standard models that it is of.

    "shipped" are those that come with genrobust for the source of the data: with "pictograms" a table, with "imagenet"
    the lines of published models over all of its classes (see `data.imagenet_sets`), and with folders none. Else
    a CSV (model,test_set,clean,shifted), or None.

    `grid` trains that many small standard models on the real data where there is no table; 0 trains none.

    `second_id` names a test set that is in the distribution of what some arms train on, as the generator's own data is:
    effective robustness beyond both ID accuracies is then told beside the usual one (Shi et al., 2023).
    """

    baselines: str | None = "shipped"
    transform: Literal["logit", "probit", "linear"] = "logit"
    grid: Annotated[int, Field(ge=0)] = 0
    bootstrap: Positive = 1000
    second_id: str | None = None
