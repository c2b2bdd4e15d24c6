"""The real images of a study, and its shifted test sets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, StrictFloat, StrictInt, field_validator, model_validator

from genrobust.core import LabelSpace, Registry
from genrobust.recipe.images import PACKAGE, Images, NamedImages
from genrobust.recipe.names import Name
from genrobust.recipe.numbers import Count, PerClass, Seed
from genrobust.recipe.section import Choice, Section, checked, later_key, shown

RULE = "such as {pattern: REGEX}"
SOURCES: Registry[type[DataConfig]] = Registry("source", "genrobust.sources", PACKAGE)


def _accept_path(value: Any) -> Any:
    return {"path": value} if value is None or isinstance(value, str | Path) else value


class ImageRule(Section):
    """The rule that finds a name for each image of a set, such as its style, photographer, camera, hospital or site.

    `pattern` is a Python regular expression, searched for in the path of an image below the folder of its set, such as
    ``dog/siteA_0001.jpg`` (in tars: the tar's name and the key, without an extension). Its capture group, or the one
    called ``group``, is the name.

    `column` names a column of CSV tables and parquet files, or a key of the JSON beside an image in
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
        except re.error as error:
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

    `shared: false` keeps the groups of each test set apart, for names such as ``1`` that mean something else in each.
    Otherwise groups of the same name are one group, even across test sets.
    """

    shared: bool = True


class ClassSample(Section):
    """So many of the classes, which a hash with the `seed` chooses: of one seed, fewer are a part of more."""

    count: Annotated[StrictInt, Field(ge=2, le=1_000_000)]
    seed: Seed = 0


def _accept_sample(value: Any) -> Any:
    return checked(ClassSample, value, "a sample of the classes") if isinstance(value, dict) else value


class CellShare(Section):
    """A share of the cells, each a class in a style, that a hash with the `seed` chooses: evenly over both.

    Each class keeps a style, and each style a class. Of one seed, a smaller share is part of a larger one.
    """

    share: Annotated[StrictFloat, Field(gt=0, lt=1)]
    seed: Seed = 0


def _accept_share(value: Any) -> Any:
    """A mapping describes a share; a text is a pattern alone."""
    if isinstance(value, dict):
        return checked(CellShare, value, "a share of the cells")
    return (value,) if isinstance(value, str) else value


class WithoutConfig(Section):
    """What to exclude from the images to retrieve, and from the pool that a class model learns from.

    `cells` are classes in a style, which labeled images then lack: patterns of ``CLASS/STYLE`` such as ``dog/sketch``,
    ``*/sketch`` or ``dog/*``, or a share of all cells, which are those that the training images do not have.

    The excluded images with labels are the source `retrieved-withheld`, a control for what takes their place. Copies of
    them are left out of the images to search.
    """

    cells: Annotated[CellShare | tuple[str, ...], BeforeValidator(_accept_share)] = ()


class RetrievedConfig(Section):
    """Real images that arms train on instead of generated ones, as a control. A path alone means `path`.

    `path` holds labeled images, such as the generator's training data, for `retrieved` and `retrieved-by-class`.
    Pictograms has its own.

    `search` holds images without labels: a folder with images at any depth, a CSV table of paths, tars or parquet
    files. `retrieved-by-search` takes those nearest to each class, by the cosine with the recipe's prompts. Without it,
    the images of `path` are searched and their labels ignored.

    `clip` is the CLIP that searches: a folder, or "pictograms" for the embedded one.

    `per_class` is the number of images of each class; None takes as many as the arms' first generated dataset has
    before its filter, or all. Only a search takes more than were generated.

    `limit` keeps so many of the labeled images, a fair sample.

    `without` then excludes some of them.
    """

    path: Images | None = None
    search: Images | None = None
    clip: str | None = None
    per_class: PerClass | None = None
    limit: Count | None = later_key(None)
    without: WithoutConfig = later_key(WithoutConfig())


class DataConfig(Choice):
    """The source of the real images, and what is added to them.

    A path, except `retrieved.search`, is a folder of class folders, a CSV table of paths and labels, WebDataset tars or
    Hugging Face parquet files. Folders STYLE/CLASS are read as well, but not as `train`: there, see `source: domains`.

    `classes` takes some of the classes, as if there were no others: a list of their folders or names, a text file with
    one on each line, or so many that a hash chooses.

    `shifts` are the shifted test sets. One of a recipe is left out by ``--set data.shifts.NAME=null``.

    `same_class` maps a folder name of any set but `train` to the training folder of that class, or to "" to leave out
    the class or style.

    `generated` are generated images to use instead of the generator's.

    `extra` names further images of the training classes for arms to mix, such as those of DeepAugment.

    `shifted_val` names a shifted test set, of which a third of each class is held out: the shifted validation set
    NAME-val, by which `genrobust tune` and you may choose, and which is not tested on.

    `groups` says which test images belong together, such as those of one photographer: intervals are then over groups.
    Give one `GroupRule`, or one for each test set. For a set without one, `groups_apart` says so.

    `groups_apart` is the rule for images that belong together, such as drawings of one photograph: they are held out
    together, lie in one half of a domain set, and are not learned from where one is a test image. PACS has its own.

    `styles` is the rule for the style of training and labeled retrieved images: retrieval matches styles, and a class
    model learns them. Folders STYLE/CLASS need none.

    `near_copies: leave-out` removes near copies of test images (resized, mirrored, moved, saved again) from all
    training images; `keep` does not search for them; `auto` searches in up to 300,000 images. Exact copies are always
    left out.

    `broken: skip` leaves out training images that cannot be read; `stop` lists them in an error. A broken test image is
    always an error.

    `packed` reads training images from copies of which only the crop is decoded, for `crop: random-resized`. Their
    pixels differ a little, and so do checkpoints.
    """

    chosen_by = "source"
    registry = SOURCES
    own_clip: ClassVar[str | None] = None  # the CLIP that searches `retrieved` where the recipe names none
    own_prompts: ClassVar[str] = "openai"  # the templates of its prompts where the recipe names none
    has_published_lines: ClassVar[bool] = False  # of standard models, without the models themselves
    together: ClassVar[ImageRule | None] = None  # `groups_apart` within the source, where the recipe has none
    needs: ClassVar[str] = ""  # what a machine must have for it, in words

    source: str = "pictograms"
    classes: Annotated[ClassSample | tuple[str, ...] | str, BeforeValidator(_accept_sample)] = later_key("all")
    shifts: dict[Name, NamedImages] = Field(default_factory=dict)
    generated: Images | None = None
    retrieved: Annotated[RetrievedConfig, BeforeValidator(_accept_path)] = RetrievedConfig()
    extra: dict[Name, Images] = Field(default_factory=dict)
    groups: dict[str, GroupRule] | GroupRule | None = None
    groups_apart: ImageRule | None = later_key(None)
    styles: ImageRule | None = later_key(None)
    same_class: dict[str, str] = Field(default_factory=dict)
    shifted_val: str | None = later_key(None)
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

    @field_validator("shifts", mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        return {n: shift for n, shift in value.items() if shift is not None} if isinstance(value, dict) else value

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
        # A set of images is named by its own key.
        yield key.removesuffix(".path"), value
    elif isinstance(value, Section | dict):
        for name, inner in value.items() if isinstance(value, dict) else value:
            yield from _paths_in(inner, f"{key}.{name}")
