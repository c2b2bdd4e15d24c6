"""Read the configuration of a timm model or an ONNX file: its classes, and how its images are prepared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, field_validator
from timm.data import resolve_data_config

from genrobust.classifiers.networks.classifier_network import REFUSED
from genrobust.classifiers.sources.model_folders import TIMM_CONFIG
from genrobust.core import parse_json, reading

Size = tuple[PositiveInt, PositiveInt, PositiveInt]
# Pixels are from 0 to 1: with values for pixels from 0 to 255, all images would look alike.
Means = Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=3, max_length=3)]
Stds = Annotated[list[Annotated[float, Field(gt=1e-6, le=1)]], Field(min_length=3, max_length=3)]


class Preparation(BaseModel):
    """How images are prepared. timm has a default for each value that is None, and more keys, which are not used."""

    input_size: Size | None = None
    test_input_size: Size | None = None
    crop_pct: PositiveFloat | None = None
    test_crop_pct: PositiveFloat | None = None
    mean: Means | None = None
    std: Stds | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"] | None = None
    crop_mode: Literal["center", "squash", "border"] | None = None


class ClassifierMetadata(BaseModel):
    """The metadata of a classifier in a file.

    Attributes:
        label_names: The classes in the order of the logits.
        label_descriptions: The names to show for some of them.
    """

    label_names: list[str] | None = None
    label_descriptions: dict[str, str] | None = None
    pretrained_cfg: dict[str, Any] | None = None

    @field_validator("label_names", mode="before")
    @classmethod
    def _order_names(cls, names: Any) -> Any:
        """Turn a mapping from numbers to names into a list."""
        if isinstance(names, dict):
            return [names[number] for number in sorted(names, key=int)]
        return names


class TimmConfig(ClassifierMetadata):
    """The `TIMM_CONFIG` of a folder."""

    architecture: str
    num_classes: PositiveInt | None = None
    model_args: dict[str, Any] = {}
    pretrained_cfg: dict[str, Any]

    @field_validator("model_args")
    @classmethod
    def _refuse_arguments(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        refused = sorted(arguments.keys() & REFUSED - {"num_classes"})
        if refused:
            raise ValueError(f"model_args.{refused[0]} cannot be set in {TIMM_CONFIG}: remove it")
        return arguments


def read_timm_config(folder: Path, spec: str) -> dict[str, Any]:
    """Return timm's configuration of the model in `folder`, with its classes and the arguments that make it."""
    expected = "; expected is the configuration that timm's save_for_hf writes"
    with reading(f"the {TIMM_CONFIG} of {spec}", ValueError, TypeError, LookupError, AttributeError, then=expected):
        raw = parse_json((folder / TIMM_CONFIG).read_bytes())
        inner = raw["pretrained_cfg"]
        # timm writes the classes in either place.
        classes = {key: inner[key] for key in ("num_classes", "label_names", "label_descriptions") if inner.get(key)}
        given = {key: value for key, value in raw.items() if value is not None}
        config = TimmConfig.model_validate(classes | given)
    return config.pretrained_cfg | config.model_dump(exclude={"pretrained_cfg"}, exclude_none=True)


def data_config(spec: str, config: Mapping[str, Any], test_size: bool = False) -> dict[str, Any]:
    """Return how timm prepares images by the configuration `config` of `spec`.

    With `test_size`, at the size for tests, if it differs from the size for training.
    """
    with reading(f"the configuration of {spec}", ValueError, TypeError):
        preparation = Preparation.model_validate(dict(config)).model_dump(exclude_none=True)
    # timm reads input_size without a default.
    complete = {"input_size": None, **preparation}
    resolved: dict[str, Any] = resolve_data_config(pretrained_cfg=complete, use_test_size=test_size)
    return resolved
