"""How classifiers are trained on mixtures, asked and scored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from genrobust.config.section import Fraction, Positive, Section


class TrainConfig(Section):
    """How a classifier is trained; the same for every arm unless the arm says otherwise."""

    architecture: str = "resnet10t"  # any timm name
    model_kwargs: dict[str, Any] = Field(default_factory=dict)  # for timm's constructor: channels, drop_path_rate ...
    image_size: Positive = 64
    steps: Positive = 600
    batch_size: Positive = 128
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    momentum: Fraction = 0.9  # SGD alone
    warmup_steps: Annotated[int, Field(ge=0)] = 50
    label_smoothing: Fraction = 0.1
    ema_decay: Fraction = 0.99  # 0 turns the weight average off
    augmentation: Literal["standard", "none", "randaugment", "trivialaugment", "augmix"] = "standard"
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    validate_every: Positive = 200  # steps; the best checkpoint by validation top-1 is kept
    save_every: Positive = 200  # steps; a killed run loses at most these


class MixturePart(Section):
    """A share of an arm's training images.

    `source` is real, generated, the name of one of the recipe's `datasets`, retrieved (as many images of each class and
    style from the generator's own training data) or retrieved-by-class (of each class, in any style). `per_class` takes
    at most so many of each class (a prefix of the generated ones); `fraction` takes that fraction of each class.
    `weight` is its share of every batch relative to the others'; None means in proportion to its number of images, as
    plain concatenation would.
    """

    source: str
    per_class: Positive | None = None
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    weight: Annotated[float, Field(gt=0)] | None = None


class ArmConfig(Section):
    """A named mixture to train on. `train` overrides keys of the study's train section for this arm."""

    name: str
    mixture: tuple[MixturePart, ...]
    train: dict[str, Any] = Field(default_factory=dict)

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
    """How predictions are made. `batch_size` changes no figure beyond rounding."""

    batch_size: Positive = 256
    tests: tuple[str, ...] | None = None  # None: every test set of the data
    min_images: Positive = 150  # a shifted set with fewer is reported and left out of the mean


class RobustnessConfig(Section):
    """The baseline line. `baselines` is "pictograms" (shipped), a CSV (model,test_set,clean,shifted), or None.

    `grid` trains that many small standard models on the real data where there is no table; 0 trains none.
    """

    baselines: str | None = "pictograms"
    transform: Literal["logit", "probit", "linear"] = "logit"
    grid: Annotated[int, Field(ge=0)] = 0
    bootstrap: Positive = 1000
