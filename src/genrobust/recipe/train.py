"""The section `train`: how a classifier is trained."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictFloat, StrictInt, model_validator

from genrobust.recipe.augmentation import Augmentation, AugmentationName
from genrobust.recipe.fine_tuning import FineTuning
from genrobust.recipe.names import Name
from genrobust.recipe.numbers import (
    Average,
    Decay,
    Epochs,
    Fraction,
    Pixels,
    PositiveFraction,
    Rate,
    Steps,
    WarmupSteps,
)
from genrobust.recipe.section import PlainValues, later_key

AVERAGE_POWER = 2 / 3  # timm's ModelEmaV3 bounds its decay by 1 - steps^(-2/3)
# At 16 px, the last maps of a ResNet have 1 px. PyTorch 2.13 computes wrong gradients for them in bfloat16 on a CPU.
StartSize = Annotated[StrictInt, Field(ge=32, le=4096)]
Mixing = Annotated[StrictFloat, Field(ge=0, le=1000)]
Jitter = Annotated[StrictFloat, Field(ge=0, le=10)]
LENGTHS = (("steps", "epochs"), ("warmup_steps", "warmup_epochs"))  # a recipe gives one key of each pair
# Augmentations that combine with each other and with any policy, by their names in timm. 0 turns one off.
COMBINED = ("mixup", "cutmix", "random_erasing", "color_jitter", "grayscale")
# FFCV's ImageNet example for 88 epochs enlarges the images between these shares of the training.
GROWTH_BEGINS, GROWTH_ENDS = 65 / 88, 76 / 88
SIZE_STEP = 32  # pixels


class TrainConfig(FineTuning):
    """Training of a classifier. All arms share it, and each arm may override keys of it.

    `architecture` is a name of timm, or one of the paper's names, such as resnext50 and alexnet.

    `model_kwargs` are arguments for timm's constructor, such as channels and drop_path_rate.

    `image_size` is the size of the training images in pixels.

    `steps` is the number of training steps, `null` with `epochs`.

    `epochs` is the length of the training instead of `steps`. An epoch is a pass over as many images as the arm's
    mixture has, so an arm with more images trains longer.

    `warmup_steps` is the number of steps in which the learning rate rises linearly. In a shorter training, it rises for
    half of the steps. The rate then decays to zero: along half a cosine, or linearly with `schedule: linear` (FFCV's
    "cyclic", which starts from a ten-thousandth).

    `warmup_epochs` is the same in epochs, instead of `warmup_steps`.

    `optimizer: sgd` has Nesterov momentum, as in timm; `momentum` is PyTorch's plain SGD with momentum.

    `momentum` is the momentum of both kinds of SGD.

    `weight_decay` does not apply to biases and one-dimensional parameters, as in timm.

    `no_decay` lists texts. Parameters whose names contain one of them have no weight decay, and all others have. `[bn]`
    is FFCV's rule, `[]` decays all parameters.

    `keep: last` keeps the averaged weights of the last step, and needs no validation images (`data.held_out: 0`).
    `best` keeps the weights with the best validation top-1. With fewer than some thousand validation images, chance
    chooses.

    `ema_decay` is the decay of the weight average, 0 for no average. At each step it is at most 1 - step^(-2/3), as in
    timm: 0.986 at step 600, 0.999 at step 31,600. So a decay above the bound of the last step changes nothing.

    `crop: square` resizes and crops an image to `image_size`, then keeps 60 to 100 % of its area. It suits drawings and
    subjects that fill the image. `random-resized` keeps 8 to 100 % of the original image, as usual for photographs. It
    decodes an image each time it is used.

    `start_size` is the image size at first. It grows to `image_size` late in the training (progressive resizing).

    `augmentation` is the policy. All policies except `none` crop and mirror; `standard` does nothing else.

    `augmentation_share` is the share of the images that the policy changes. The others are cropped and mirrored.

    `mixup` is the alpha of the Beta distribution of the mixing weight, 0 for no mixup.

    `cutmix` is the alpha of CutMix, 0 for none. With `mixup` too, each batch uses one of the two.

    `random_erasing` is the probability for each image.

    `color_jitter` changes brightness, contrast and saturation by up to this factor.

    `grayscale` is the probability for each image.

    `blur_pool` low-pass filters the input of each convolution with a stride and 16 input channels or more (Zhang, 2019,
    as in FFCV). timm cannot load such a network: export it to ONNX.

    `precision` is the precision of autocast. Weights and optimizer are float32. `auto` is bfloat16, or float16 with a
    scaled loss, or float32 on a CPU without bfloat16 instructions.

    `compile` uses `torch.compile`. It takes about a minute for each image size, and changes weights by rounding.

    `validate_every` is the number of steps between two measurements on the validation images.

    `save_every` is the number of steps between two saved states, `null` for one a minute. A killed run repeats the
    steps after the last saved state.
    """

    chosen_by = "method"

    architecture: str = "resnet10t"
    model_kwargs: PlainValues = Field(default_factory=dict)
    image_size: Pixels = 64
    start_size: StartSize | None = None
    crop: Literal["square", "random-resized"] = "square"
    steps: Steps | None = 600
    epochs: Epochs | None = None
    batch_size: Annotated[StrictInt, Field(ge=2, le=65_536)] = 128
    optimizer: Literal["adamw", "sgd", "momentum"] = "adamw"
    learning_rate: Rate = 2e-3
    schedule: Literal["cosine", "linear"] = later_key("cosine")
    weight_decay: Decay = 0.05
    no_decay: tuple[Name, ...] | None = later_key(None)
    momentum: Fraction = 0.9
    warmup_steps: WarmupSteps | None = 50
    warmup_epochs: Epochs | None = later_key(None)
    label_smoothing: Annotated[StrictFloat, Field(ge=0, lt=1)] = 0.1
    ema_decay: Average = 0.99
    augmentation: AugmentationName = Field(default_factory=Augmentation)
    augmentation_share: PositiveFraction = later_key(1.0)
    mixup: Mixing = 0.0
    cutmix: Mixing = 0.0
    random_erasing: Fraction = 0.0
    color_jitter: Jitter = 0.0
    grayscale: Fraction = 0.0
    blur_pool: bool = later_key(False)
    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    compile: bool = later_key(False)
    keep: Literal["best", "last"] = "last"
    validate_every: Steps = 200
    save_every: Steps | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_default_steps(cls, value: Any) -> Any:
        """Set the default of a key in steps to None if the recipe gives the length in epochs."""
        if not isinstance(value, dict):
            return value
        in_epochs = [steps for steps, epochs in LENGTHS if value.get(epochs) is not None]
        return {**dict.fromkeys(in_epochs), **value}

    @model_validator(mode="after")
    def _check_lengths(self) -> TrainConfig:
        for steps, epochs in LENGTHS:
            if (getattr(self, steps) is None) == (getattr(self, epochs) is None):
                raise ValueError(f"give either {steps} or {epochs}, and set the other to null or leave it out")
        return self

    @model_validator(mode="after")
    def _check_momentum(self) -> TrainConfig:
        if self.optimizer == "sgd" and self.momentum == 0:
            raise ValueError("momentum: sgd is Nesterov's, which needs some: for none, set optimizer to momentum")
        if self.optimizer == "adamw" and self.momentum != type(self).model_fields["momentum"].default:
            raise ValueError("momentum: adamw has none: leave it out, or set optimizer")
        return self

    @model_validator(mode="after")
    def _check_augmentation(self) -> TrainConfig:
        if self.crop == "random-resized" and not self.augmentation.crops:
            raise ValueError("crop: random-resized is an augmentation, which augmentation: none excludes")
        if self.augmentation_share < 1 and not self.augmentation.changes:
            raise ValueError(f"augmentation_share: {self.augmentation} is no policy that could change a share")
        if self.start_size is not None and (self.crop == "square" or self.start_size > self.image_size):
            raise ValueError("start_size needs crop: random-resized, and must not exceed image_size")
        return self

    @property
    def effective(self) -> Self:
        """The settings with the highest `ema_decay` that a training of `steps` reaches."""
        if self.steps is None:
            return self
        bound = 1 - self.steps**-AVERAGE_POWER
        return self.model_copy(update={"ema_decay": min(self.ema_decay, bound)})

    def size_at(self, step: int, steps: int) -> int:
        """Return the image size in pixels at `step` (from 0) of `steps`.

        It grows in multiples of 32 between 74 and 86 % of the steps, as in FFCV.
        """
        if self.start_size is None:
            return self.image_size
        progress = (step / steps - GROWTH_BEGINS) / (GROWTH_ENDS - GROWTH_BEGINS)
        if progress <= 0:
            return self.start_size
        if progress >= 1:
            return self.image_size
        size = self.start_size + progress * (self.image_size - self.start_size)
        rounded = SIZE_STEP * round(size / SIZE_STEP)
        return min(max(rounded, self.start_size), self.image_size)

    def steps_for(self, images: int) -> int:
        """Return the number of training steps on a mixture of so many images. A linear probe sees each image once."""
        if self.probes == "only":
            return math.ceil(images / self.batch_size)
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None  # _check_lengths
        return math.ceil(self.epochs * images / self.batch_size)

    def warmup_for(self, images: int) -> int:
        """Return the number of steps in which the learning rate rises, on a mixture of so many images."""
        warmup, steps = self.warmup_steps, self.steps_for(images)
        if warmup is None:
            assert self.warmup_epochs is not None  # _check_lengths
            warmup = round(self.warmup_epochs * images / self.batch_size)
        return warmup if warmup < steps else steps // 2

    @property
    def network_kwargs(self) -> dict[str, Any]:
        """The arguments of the network for `create_classifier`. A checkpoint stores them."""
        if self.blur_pool:
            return {**self.model_kwargs, "blur_pool": True}
        return self.model_kwargs

    @property
    def augmented(self) -> str:
        """All augmentations in words: "standard", or "randaugment, mixup 0.2, random erasing 0.25"."""
        if self.probes == "only":
            return "none"
        policy = str(self.augmentation)
        if self.augmentation_share < 1:
            policy += f" of {100 * self.augmentation_share:g} %"
        words = [policy]
        for key in COMBINED:
            value = getattr(self, key)
            if value:
                words.append(f"{key.replace('_', ' ')} {value:g}")
        return ", ".join(words)

    def network_in_words(self, alpha: float = 1) -> str:
        """Describe the network and its start: "resnet50, from pretrained, linear probe".

        Args:
            alpha: The position between the weights before (0) and after (1) fine-tuning, as in WiSE-FT.
        """
        interpolated = "" if alpha == 1 else f"WiSE-FT {alpha:g}"
        return ", ".join(filter(None, [self.architecture, self.start_in_words, interpolated]))
