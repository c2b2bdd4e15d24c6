"""Validates the configuration of a timm model or an ONNX file, which is untrusted input."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator
from timm.data import resolve_data_config

from genrobust.classifiers.networks.models import REFUSED
from genrobust.classifiers.sources.folders import TIMM_CONFIG
from genrobust.core import parse_json, reading

MOST_PIXELS = 8192  # of a side: far above what any classifier sees
Pixels = Annotated[int, Field(ge=1, le=MOST_PIXELS, strict=True)]
Size = tuple[Annotated[int, Field(ge=1, le=4, strict=True)], Pixels, Pixels]
CropFraction = Annotated[
    float, Field(ge=0.05, le=4, allow_inf_nan=False)
]  # of an image's shorter side; beyond 1 it is padded
# Of pixels from 0 to 1: values for pixels from 0 to 255 would make all images look alike.
ChannelMeans = Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=3, max_length=3)]
ChannelStds = Annotated[list[Annotated[float, Field(gt=1e-6, le=1)]], Field(min_length=3, max_length=3)]


class Preparation(BaseModel):
    """How images are prepared; what is None is timm's default. timm has further keys, which are not used."""

    input_size: Size | None = None
    test_input_size: Size | None = None
    crop_pct: CropFraction | None = None
    test_crop_pct: CropFraction | None = None
    mean: ChannelMeans | None = None
    std: ChannelStds | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"] | None = None
    crop_mode: Literal["center", "squash", "border"] | None = None


class ClassifierMetadata(BaseModel):
    """The metadata of a classifier in a file.

    `label_names` are in the order of the logits, and `label_descriptions` the names to show for some of them.
    """

    label_names: list[str] | None = None
    label_descriptions: dict[str, str] | None = None
    pretrained_cfg: dict[str, Any] | None = None

    @field_validator("label_names", mode="before")
    @classmethod
    def _order_names(cls, names: Any) -> Any:
        """Return the values of a mapping from numbers to names, in the order of the numbers."""
        return [names[number] for number in sorted(names, key=int)] if isinstance(names, dict) else names


class TimmConfig(ClassifierMetadata):
    """The `TIMM_CONFIG` of a folder."""

    architecture: Annotated[str, Field(max_length=200)]
    num_classes: Annotated[int, Field(ge=1, le=1_000_000, strict=True)] | None = None
    model_args: dict[str, Any] = {}
    pretrained_cfg: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _take_labels(cls, config: Any) -> Any:
        """Take the classes from `pretrained_cfg` where the configuration itself has none, so that they are checked."""
        if not isinstance(config, dict) or not isinstance(inner := config.get("pretrained_cfg"), dict):
            return config
        keys = ("num_classes", "label_names", "label_descriptions")
        labels = {key: inner[key] for key in keys if inner.get(key)}
        return labels | {key: value for key, value in config.items() if value is not None}

    @field_validator("model_args")
    @classmethod
    def _refuse_arguments(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        if refused := sorted(arguments.keys() & REFUSED - {"num_classes"}):
            raise ValueError(f"model_args.{refused[0]} cannot be set in {TIMM_CONFIG}: remove it")
        return arguments


def read_timm_config(folder: Path, spec: str) -> dict[str, Any]:
    """Return timm's configuration of the model in `folder`, and what it is made with.

    That is its `architecture`, `model_args` and `label_descriptions`, and `num_classes` and `label_names` where it has
    them.

    Raises:
        UserError: The file cannot be read, or a value is invalid.
    """
    wanted = "; expected is the configuration that timm's save_for_hf writes"
    with reading(f"the {TIMM_CONFIG} of {spec}", ValueError, TypeError, then=wanted):
        config = TimmConfig.model_validate(parse_json((folder / TIMM_CONFIG).read_bytes()))
        return config.pretrained_cfg | config.model_dump(exclude={"pretrained_cfg"}, exclude_none=True)


def data_config(spec: str, config: Mapping[str, Any], test_size: bool = False) -> dict[str, Any]:
    """Return how timm prepares images by the configuration `config` of `spec`; with `test_size`, at the size for tests.

    Raises:
        UserError: A value is invalid, such as a size of 0.
    """
    with reading(f"the configuration of {spec}", ValueError, TypeError):
        preparation = Preparation.model_validate(dict(config)).model_dump(exclude_none=True)
    complete = {"input_size": None, **preparation}  # timm reads this key without a default
    resolved: dict[str, Any] = resolve_data_config(pretrained_cfg=complete, use_test_size=test_size)
    return resolved
