"""Places of the real images and of the shifted test sets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from genrobust.core import EMBEDDED, Registry
from genrobust.recipe.names import Name
from genrobust.recipe.numbers import Between, PerClass
from genrobust.recipe.section import Place, Section, checked, shown

Kind = Literal["folders", "imagenet-v2", "imagenet-sketch", "imagenet-r", "imagenet-a", "imagenet-c", "objectnet"]
SourceName = Literal["pictograms", "folders", "imagenet"]
RULE = "such as {pattern: REGEX}"
HELD_OUT = 0.1
PLUGINS: Registry[Any] = Registry("reader", "genrobust.readers")  # those of other packages


def _require_known(name: str, own: Any) -> str:
    """Return `name` where it is one of the Literal `own`, or a reader of another package."""
    known = [*get_args(own), *PLUGINS.names()]
    if name not in known:
        raise ValueError(f"no reader {name!r}; known: {', '.join(known)}")
    return name


class ShiftConfig(Section):
    """One shifted test set: its `kind` and its `path`. A path alone means `kind: folders`.

    `folders` reads class folders as in the training set, a CSV table, tars or parquet files; the other kinds are
    ImageNet's shifted sets in their official layout. `map`, only for `objectnet`, chooses which of a label's ImageNet
    classes are correct: all ("one-to-many", the default) or the first ("paper": Bansal and Grover, 2023). `corruption`
    and `severity`, only for `imagenet-c`, choose among its sets; None takes all, each as a test set of its own. Other
    packages add kinds.
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


class GroupRule(Section):
    """The rule that gives each image of a test set its group, such as its photographer, camera, hospital or site.

    `pattern` is a Python regular expression, searched for in the path of an image relative to the folder of its set
    (``dog/siteA_0001.jpg``). Its capture group, or the one called ``group``, is the group of the image. In tars the
    path is the tar's name and the key in it, without an extension.

    `column` names a column of CSV tables, parquet files and saved datasets, or a key of the JSON beside an image in
    tars.

    Groups of the same name are one group, even across test sets. With `shared: false`, this set's groups are its own:
    for names such as ``1`` that mean something else in each set.
    """

    pattern: str | None = None
    column: str | None = None
    shared: bool = True

    @field_validator("pattern")
    @classmethod
    def _check_pattern(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            found = re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"{shown(value)} is no regular expression: {error}") from None
        if not found.groups:
            raise ValueError(f"{shown(value)} has no capture group: put the part that names the group in parentheses")
        if found.groups > 1 and "group" not in found.groupindex:
            raise ValueError(
                f"{shown(value)} has {found.groups} capture groups: call the one that counts (?P<group>...), or begin "
                "the others with (?:"
            )
        return value

    @model_validator(mode="after")
    def _check_one(self) -> GroupRule:
        if (self.pattern is None) == (self.column is None):
            raise ValueError("give either pattern or column")
        return self


class RetrievedConfig(Section):
    """Images that arms train on instead of generated ones, as a control. A path alone means `path`.

    `path` holds labeled images, such as the generator's training data: `retrieved` and `retrieved-by-class` take as
    many of each class from them as were generated. Pictograms has its own.

    `search` holds images without labels: a folder with images at any depth, a CSV table of paths, WebDataset tars,
    parquet files or a saved dataset. From them, `retrieved-by-search` takes those nearest to each class by the cosine
    of image and class in the CLIP `clip`: a folder, or "pictograms" for the embedded one, the default for `source:
    pictograms`. The texts of a class are the recipe's prompts. Labels are not used; without `search`, the images of
    `path` are searched.

    `match` decides which of the images of a class a search takes: "classes" those nearest to the mean of its prompts;
    "prompts" lets each prompt in turn take the nearest, so that prompts that name styles find images of these styles.

    `per_class` is the number of images of each class that all three sources take; None takes as many as the first
    generated dataset of the arms has, or all images if the arms have none. Only a search takes more than were
    generated. `without_styles` excludes labeled images of these styles. `without_names` excludes images, with labels or
    without, whose key one of these patterns matches, such as ``*site-a/*``: ``*`` stands for any text, also with ``/``.
    """

    path: Place | None = None
    search: Place | None = None
    clip: str | None = None
    match: Literal["classes", "prompts"] = Field(default="classes", exclude_if=lambda match: match == "classes")
    per_class: PerClass | None = None
    without_styles: tuple[str, ...] = ()
    without_names: tuple[str, ...] = Field(default=(), exclude_if=lambda names: not names)

    @model_validator(mode="before")
    @classmethod
    def _accept_path(cls, value: Any) -> Any:
        return {"path": value} if value is None or isinstance(value, str | Path) else value


class DataConfig(Section):
    """The source of the real images.

    `source: pictograms` is the embedded benchmark and needs no other key.

    `source: folders` reads image folders, one subfolder for each class: `train`, `val` (None holds out part of
    `train`), `test` (the unshifted test set) and each of `shifts`. `class_names` maps a folder name to the name that is
    shown and used in prompts. `same_class` maps a folder name of a shifted set to the training folder of that class.

    `source: imagenet` reads ImageNet-1k from `root`, or from `train` and `test`; ImageNet's own validation images are
    the unshifted test set. `classes` is "all", "imagenet100" (that of Bansal and Grover, 2023) or a text file of
    WordNet ids or labels. `class_names` is "unique" (the default), "openai" (CLIP's list, in which two pairs of classes
    share a name) or a mapping from WordNet id to a name that replaces the one of "unique".

    `extra`, for any source, names further images of the training classes, which arms mix by these names: distorted
    ones (DeepAugment, Hendrycks et al., 2021), or images from anywhere else.

    `groups`, for any source, says which images of a test set belong together, such as those of one photographer, so
    that intervals are over these groups: one `GroupRule` for all test sets, or a mapping from the names of test sets to
    a rule each. The images of a set without a rule count one by one, unless its reader knows their groups. A rule
    changes only intervals, not images, training or predictions.

    Each of these paths, except `retrieved.search`, is a folder of class folders, a CSV table of paths and labels,
    WebDataset tars, Hugging Face parquet files or a saved dataset.

    `held_out` is the share of each class that is taken from the training images for validation, for the sources
    `folders` and `imagenet` without `val`. With 0, arms train on all of them, and need `train.keep: last`.

    `packed` is for `crop: random-resized`: training then reads copies of the images, generated ones too, as JPEGs of
    which it decodes only the crop. The copies are made once and take about as much disk as the photographs, or a third
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
    retrieved: RetrievedConfig = RetrievedConfig()
    extra: dict[Name, Place] = Field(default_factory=dict)
    groups: dict[str, GroupRule] | GroupRule | None = None
    classes: str = "all"
    class_names: dict[str, str] | Literal["openai", "unique"] = Field(default_factory=dict)
    same_class: dict[str, str] = Field(default_factory=dict)
    packed: bool = False

    @property
    def places(self) -> dict[str, Path]:
        """The paths that are read whenever the study's images are, by the keys that name them.

        Other sources than `folders` and `imagenet` read what they like of the keys of these.
        """
        named: dict[str, Path | None] = {f"extra.{name}": path for name, path in self.extra.items()}
        named |= {"retrieved.search": self.retrieved.search}
        if self.source in ("folders", "imagenet"):
            named |= {key: getattr(self, key) for key in ("root", "train", "val", "test")}
            named |= {f"shifts.{name}": shift.path for name, shift in self.shifts.items()}
            named |= {"retrieved.path": self.retrieved.path}
        return {f"data.{key}": path for key, path in named.items() if path is not None}

    @property
    def search_clip(self) -> str | None:
        """The CLIP that searches `retrieved`; None where the recipe must name one."""
        return self.retrieved.clip or (EMBEDDED if self.source == "pictograms" else None)

    @field_validator("class_names", mode="before")
    @classmethod
    def _check_class_names(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in ("openai", "unique"):
            raise ValueError(f"{value!r} is no list of names: use openai, unique or a mapping")
        return value

    @field_validator("groups", mode="before")
    @classmethod
    def _one_rule_or_several(cls, value: Any) -> Any:
        """A mapping that holds mappings has a rule for each test set; any other is one rule for all of them."""
        if value is None or isinstance(value, GroupRule):
            return value
        if not isinstance(value, dict) or not value:
            raise ValueError(f"give one rule, {RULE}, or a rule for each test set by its name (got {shown(value)})")
        if not any(isinstance(rule, dict | GroupRule) for rule in value.values()):
            return GroupRule.model_validate(value)
        for name, rule in value.items():
            if not isinstance(rule, dict | GroupRule):
                raise ValueError(f"{name}: give the rule of a test set, {RULE} (got {shown(rule)})")
        return {name: checked(GroupRule, rule, name) for name, rule in value.items()}

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
