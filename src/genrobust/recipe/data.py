"""The real images of a study, and its shifted test sets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from genrobust.core import LabelSpace, Registry
from genrobust.recipe.names import Name
from genrobust.recipe.numbers import Count, PerClass
from genrobust.recipe.section import Choice, Place, Section, checked, later_key, shown

RULE = "such as {pattern: REGEX}"
PACKAGE = "genrobust.data.readers"
SOURCES: Registry[type[DataConfig]] = Registry("source", "genrobust.sources", PACKAGE)
READERS: Registry[type[ShiftConfig]] = Registry("reader", "genrobust.readers", PACKAGE)


def _accept_path(value: Any) -> Any:
    return {"path": value} if value is None or isinstance(value, str | Path) else value


class ShiftConfig(Choice):
    """One shifted test set: its `kind`, and in most cases its `path`. A path alone means `kind: folders`."""

    chosen_by = "kind"
    registry = READERS

    kind: str = "folders"


class ImageRule(Section):
    """The rule that finds a name for each image of a set, such as its style, photographer, camera, hospital or site.

    `pattern` is a Python regular expression, searched for in the path of an image relative to the folder of its set
    (``dog/siteA_0001.jpg``). Its capture group, or the one called ``group``, is the name. In tars the path is the tar's
    name and the key in it, without an extension.

    `column` names a column of CSV tables, parquet files and saved datasets, or a key of the JSON beside an image in
    tars.
    """

    pattern: str | None = None
    column: str | None = None

    @field_validator("pattern")
    @classmethod
    def _check_pattern(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            regex = re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"{shown(value)} is no regular expression: {error}") from None
        if not regex.groups:
            raise ValueError(f"{shown(value)} has no capture group: put the part that names the group in parentheses")
        if regex.groups > 1 and "group" not in regex.groupindex:
            raise ValueError(
                f"{shown(value)} has {regex.groups} capture groups: call the one that counts (?P<group>...), or begin "
                "the others with (?:"
            )
        return value

    @model_validator(mode="after")
    def _require_one(self) -> Self:
        if (self.pattern is None) == (self.column is None):
            raise ValueError("give either pattern or column")
        return self


class GroupRule(ImageRule):
    """The rule that gives each image of a test set its group.

    Groups of the same name are one group, even across test sets. With `shared: false`, this set's groups are its own:
    for names such as ``1`` that mean something else in each set.
    """

    shared: bool = True


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
    `limit` keeps so many of the labeled images, a fair sample: as if one had no more.
    """

    path: Place | None = None
    search: Place | None = None
    clip: str | None = None
    match: Literal["classes", "prompts"] = later_key("classes")
    per_class: PerClass | None = None
    without_styles: tuple[str, ...] = ()
    without_names: tuple[str, ...] = later_key(())
    limit: Count | None = later_key(None)


class DataConfig(Choice):
    """The source of the real images, and what is added to them.

    `shifts` names shifted test sets. `same_class` maps a folder name of such a set to the training folder of that
    class. `generated` names generated images that take the place of those of the generator. `extra` names further
    images of the training classes, which arms mix by these names: distorted ones (DeepAugment, Hendrycks et al., 2021),
    or images from anywhere else.

    `groups` says which images of a test set belong together, such as those of one photographer, so that intervals are
    over these groups: one `GroupRule` for all test sets, or a mapping from the names of test sets to a rule each. The
    images of a set without a rule count one by one, unless its reader knows their groups. A rule changes only
    intervals, not images, training or predictions.

    `styles` is the rule for the style of each training image and of each labeled image to retrieve: retrieval matches
    styles, and a class model learns them. An image for which it finds nothing has no style.

    Each of these paths, except `retrieved.search`, is a folder of class folders, a CSV table of paths and labels,
    WebDataset tars, Hugging Face parquet files or a saved dataset.

    `near_copies` decides on images that are learned from and are near copies of test images (resized, mirrored, moved
    or saved again): `leave-out` finds them and leaves them out, `keep` does not look for them, and `auto` leaves them
    out where all sets together have up to 300,000 images (5 minutes of a CPU core for small JPEGs). Copies byte for
    byte are always left out. Test images stay as they are.

    `broken: skip` leaves images that cannot be read out of all that is learned from; `stop` is an error that lists
    them. In test sets they always are one.

    `packed` is for `crop: random-resized`: training then reads copies of the images, generated ones too, as JPEGs of
    which it decodes only the crop. The copies are made once and take about as much disk as the photographs, or a third
    of PNGs. Their pixels differ a little (see the page on speed), so the checkpoints differ too.
    """

    chosen_by = "source"
    registry = SOURCES
    own_clip: ClassVar[str | None] = None  # the CLIP that searches `retrieved` where the recipe names none
    own_prompts: ClassVar[str] = "openai"  # the templates of its prompts where the recipe names none
    has_published_lines: ClassVar[bool] = False  # of standard models, without the models themselves
    needs: ClassVar[str] = ""  # what a machine must have for it, in words

    source: str = "pictograms"
    shifts: dict[
        Name, Annotated[ShiftConfig, BeforeValidator(_accept_path, json_schema_input_type=str | ShiftConfig)]
    ] = Field(default_factory=dict)
    generated: Place | None = None
    retrieved: Annotated[
        RetrievedConfig, BeforeValidator(_accept_path, json_schema_input_type=str | RetrievedConfig | None)
    ] = RetrievedConfig()
    extra: dict[Name, Place] = Field(default_factory=dict)
    groups: dict[str, GroupRule] | GroupRule | None = None
    styles: ImageRule | None = later_key(None)
    same_class: dict[str, str] = Field(default_factory=dict)
    near_copies: Literal["auto", "leave-out", "keep"] = later_key("auto")
    broken: Literal["stop", "skip"] = later_key("stop")
    packed: bool = False

    @property
    def places(self) -> dict[str, Path]:
        """The paths that the section names, by their keys."""
        return dict(_paths_in(self, "data"))

    @property
    def holds_out_none(self) -> bool:
        """Whether there are no validation images."""
        return False

    def known_labels(self) -> LabelSpace | None:
        """Return the classes where the section alone says them; None where the images do."""
        return None

    @property
    def search_clip(self) -> str | None:
        """The CLIP that searches `retrieved`; None where the recipe must name one."""
        return self.retrieved.clip or self.own_clip

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


def _paths_in(value: Any, key: str) -> Iterator[tuple[str, Path]]:
    if isinstance(value, Path):
        yield key, value
    elif isinstance(value, Section | dict):
        for name, inner in value.items() if isinstance(value, dict) else value:
            yield from _paths_in(inner, f"{key}.{name}")
