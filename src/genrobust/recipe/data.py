"""Places of the real images and of the shifted test sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from genrobust.core import Registry
from genrobust.recipe.names import Name
from genrobust.recipe.numbers import Between
from genrobust.recipe.section import Place, Section

Kind = Literal["folders", "imagenet-v2", "imagenet-sketch", "imagenet-r", "imagenet-a", "imagenet-c", "objectnet"]
SourceName = Literal["pictograms", "folders", "imagenet"]
HELD_OUT = 0.1
PLUGINS: Registry[Any] = Registry("reader", "genrobust.readers")  # those of other packages


def _require_known(name: str, own: Any) -> str:
    """Return `name` where it is one of the Literal `own`, or a reader of another package."""
    known = [*get_args(own), *PLUGINS.names()]
    if name not in known:
        raise ValueError(f"no reader {name!r}; known: {', '.join(known)}")
    return name


class ShiftConfig(Section):
    """One shifted test set: its `kind`, and the `path` where it lies. A path alone means `kind: folders`.

    `folders` has the class folders of the training set, tars or parquet files; the other kinds are ImageNet's shifted
    sets in their official layout. `map`, only for `objectnet`, chooses which of a label's ImageNet classes are correct:
    all ("one-to-many", the default) or the first ("paper": Bansal and Grover, 2023). `corruption` and `severity`, only
    for `imagenet-c`, choose among its sets; None takes all, each as a test set of its own. Other packages add kinds.
    """

    kind: Kind | str = "folders"
    path: Place
    map: Literal["one-to-many", "paper"] | None = None
    corruption: str | None = None
    severity: Annotated[int, Between(1, 5, "the published sets have five")] | None = None

    @model_validator(mode="before")
    @classmethod
    def _accept_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str | Path) else value

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        return _require_known(value, Kind)

    @model_validator(mode="after")
    def _check_kind(self) -> ShiftConfig:
        if self.map is not None and self.kind != "objectnet":
            raise ValueError(f"map belongs to kind: objectnet, not to {self.kind}")
        if (self.corruption is not None or self.severity is not None) and self.kind != "imagenet-c":
            raise ValueError(f"corruption and severity belong to kind: imagenet-c, not to {self.kind}")
        return self


class DataConfig(Section):
    """The source of the real images.

    `source: pictograms` is the embedded benchmark and needs no other key.

    `source: folders` reads image folders, one subfolder for each class: `train`, `val` (None holds some of train
    out), `test` (the unshifted test set) and each of `shifts`. `class_names` maps a folder name to the name that is
    shown and used in prompts. `same_class` maps a folder name of a shifted set to the training folder of that class.

    `source: imagenet` reads ImageNet-1k from `root`, or from `train` and `test`; ImageNet's own validation images are
    the unshifted test set. `classes` is "all", "imagenet100" (that of Bansal and Grover, 2023) or a text file of
    WordNet ids or labels. `class_names` is "unique" (the default), "openai" (CLIP's list, in which two pairs of classes
    share a name) or a mapping from WordNet id that changes single names of "unique".

    `extra`, for any source, names further images of the training classes, which arms mix by these names: distorted
    ones (DeepAugment, Hendrycks et al., 2021), or images from anywhere else.

    Each of these places is a folder of class folders, WebDataset tars, Hugging Face parquet files or a saved dataset.

    `held_out` is the share of each class that is taken from the training images for validation, for the sources
    `folders` and `imagenet` without `val`. With 0, arms train on all of them, and need `train.keep: last`.

    `packed` is for `crop: random-resized`: training then reads copies of the images, generated ones too, as JPEGs of
    which it decodes only the crop. The copies are made once and take about as much disk as the photographs, or a tenth
    of PNGs. Their pixels differ a little (see the page on speed), so the checkpoints differ too.
    """

    source: SourceName | str = "pictograms"
    root: Place | None = None
    train: Place | None = None
    val: Place | None = None
    held_out: Annotated[float, Between(0, 0.5, "most images are for training")] = HELD_OUT
    test: Place | None = None
    shifts: dict[Name, ShiftConfig] = Field(default_factory=dict)
    generated: Place | None = None
    retrieved: Place | None = None
    extra: dict[Name, Place] = Field(default_factory=dict)
    classes: str = "all"
    class_names: dict[str, str] | Literal["openai", "unique"] = Field(default_factory=dict)
    same_class: dict[str, str] = Field(default_factory=dict)
    packed: bool = False

    @field_validator("class_names", mode="before")
    @classmethod
    def _check_class_names(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in ("openai", "unique"):
            raise ValueError(f"{value!r} is no list of names: use openai, unique or a mapping")
        return value

    @field_validator("source")
    @classmethod
    def _known_source(cls, value: str) -> str:
        return _require_known(value, SourceName)

    @property
    def holds_out_none(self) -> bool:
        """Whether there are no validation images."""
        return self.held_out == 0 and self.val is None

    @model_validator(mode="after")
    def _check_source(self) -> DataConfig:
        if self.held_out != HELD_OUT and (self.val is not None or self.source == "pictograms"):
            raise ValueError(
                f"held_out: the validation images are {self.val or 'part of pictograms'}, and none are taken from the "
                "training images: leave it out"
            )
        if self.source not in get_args(SourceName):
            return self  # a reader of another package checks its own
        if self.source == "folders" and (self.train is None or self.test is None):
            raise ValueError("source: folders needs the keys train and test")
        if self.source == "imagenet":
            if self.root is None and (self.train is None or self.test is None):
                raise ValueError(
                    "source: imagenet needs the key root, or train and test; test is the folder of ImageNet's "
                    "validation images, and val, if given, holds other images to choose a checkpoint by"
                )
            return self
        own = {"root": self.root is not None, "classes": self.classes != "all"}
        own["class_names"] = isinstance(self.class_names, str)
        of_imagenet = set(get_args(Kind)) - {"folders"}
        own |= {f"shifts.{name}.kind": shift.kind in of_imagenet for name, shift in self.shifts.items()}
        for key, given in own.items():
            if given:
                raise ValueError(f"{key}: this value belongs to source: imagenet, not to source: {self.source}")
        return self
