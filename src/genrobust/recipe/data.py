"""The section `data`: the real images of a study, and its shifted test sets."""

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


class ImageRule(Section):
    """The rule that finds a name for each image of a set, such as its style, photographer, camera, hospital or site.

    `pattern` is a Python regular expression. It is searched for in the path of an image below the folder of its set,
    such as ``dog/siteA_0001.jpg`` (in tars: the name of the tar and the key, without an extension). The name is the
    text of its capture group, or of the group called ``group``.

    `column` is a column of CSV tables and parquet files, or a key of the JSON file of an image in tars.
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

    `shared: false` keeps the groups of each test set apart, for names such as ``1`` that mean different things in
    different sets. By default, groups of the same name are one group, also across test sets.
    """

    shared: bool = True


class ClassSample(Section):
    """A number of classes, chosen by a hash. With one `seed`, a smaller number is a part of a larger one."""

    count: Annotated[StrictInt, Field(ge=2, le=1_000_000)]
    seed: Seed = 0


def _accept_sample(value: Any) -> Any:
    """Accept a mapping as a `ClassSample`."""
    if isinstance(value, dict):
        return checked(ClassSample, value, "a sample of the classes")
    return value


class CellShare(Section):
    """A share of the cells, chosen by a hash. A cell is a class in a style.

    The choice is even over classes and styles. Each class keeps a style, and each style keeps a class. With one `seed`,
    a smaller share is a part of a larger one.
    """

    share: Annotated[StrictFloat, Field(gt=0, lt=1)]
    seed: Seed = 0


def _accept_share(value: Any) -> Any:
    """Accept a mapping as a `CellShare`, and a text as a list of one pattern."""
    if isinstance(value, dict):
        return checked(CellShare, value, "a share of the cells")
    return (value,) if isinstance(value, str) else value


class WithoutConfig(Section):
    """Images to exclude from the images to retrieve, and from the pool that a class model learns from.

    The excluded images with labels are the source `retrieved-withheld`, a control for images that replace them. The
    images to search also lose the copies of excluded images.

    `cells` are classes in a style, which labeled images then lack. They are patterns of ``CLASS/STYLE``, such as
    ``dog/sketch``, ``*/sketch`` or ``dog/*``, or a share of all cells that the training images do not have.
    """

    cells: Annotated[CellShare | tuple[str, ...], BeforeValidator(_accept_share)] = ()


class RetrievedConfig(Section):
    """Real images that arms train on instead of generated ones, as a control. A path alone means `path`.

    `path` has labeled images, such as the training data of the generator, for `retrieved` and `retrieved-by-class`.
    Pictograms has its own.

    `search` has images without labels: a folder with images at any depth, a CSV table of paths, tars or parquet files.
    `retrieved-by-search` takes the images nearest to each class, by the cosine with the recipe's prompts. Without
    `search`, it searches the images of `path` and ignores their labels.

    `clip` is the CLIP that searches: a folder, or "pictograms" for the embedded CLIP.

    `per_class` is the number of images of each class. With `null`, it is the number in the arms' first generated
    dataset before its filter, or all images. Only a search takes more images than were generated.

    `limit` is the largest number of labeled images to keep, a fair sample.

    `without` then excludes some of them.
    """

    path: Images | None = None
    search: Images | None = None
    clip: str | None = None
    per_class: PerClass | None = None
    limit: Count | None = later_key(None)
    without: WithoutConfig = later_key(WithoutConfig())


def _accept_path(value: Any) -> Any:
    """Accept a path as `retrieved.path`."""
    if value is None or isinstance(value, str | Path):
        return {"path": value}
    return value


class DataConfig(Choice):
    """The source of the real images, and the images that are added to them.

    A path, except `unlabeled` and `retrieved.search`, is a folder of class folders, a CSV table of paths and labels,
    WebDataset tars or Hugging Face parquet files. It may also be a folder of folders STYLE/CLASS, except for `train`:
    there, use `source: domains`.

    `source` is the kind of data set.

    `classes` takes some of the classes, as if there were no others: a list of their folders or names, a text file with
    one on each line, or a number of classes that a hash chooses.

    `shifts` are the shifted test sets, by name. ``--set data.shifts.NAME=null`` leaves out a test set of a recipe.

    `same_class` maps a folder name of any set except `train` to the training folder of that class, or to "" to leave
    out the class or style.

    `generated` are generated images to use instead of the generator's.

    `unlabeled` are images without labels like those that the classifiers will meet, by name: a folder with images at
    any depth, a CSV table of paths, tars or parquet files. The report estimates accuracies on them, and arms may learn
    from them with labels that another arm predicts.

    `extra` are more images of the training classes, by name, for arms to mix, such as the images of DeepAugment.

    `shifted_val` names a shifted test set. A third of each of its classes is held out as the shifted validation set
    NAME-val. `genrobust tune` and you may choose by it, and it is not tested on.

    `groups` says which test images belong together, such as the images of one photographer. Intervals are then over
    groups. Give one `GroupRule`, or one for each test set. A test set without one uses `groups_apart`.

    `groups_apart` is the rule for images that belong together, such as drawings of one photograph. They are held out
    together, and are in one half of a domain set. They are removed from training if one of them is a test image. PACS
    has its own rule.

    `styles` is the rule for the style of training images and labeled retrieved images. Retrieval matches styles, and a
    class model learns them. Folders STYLE/CLASS need no rule.

    `near_copies: leave-out` removes near copies of test images (resized, mirrored, cropped, moved, framed, lighter,
    darker, gray, saved again) from all training images; `keep` does not search for them; `auto` searches in up to
    300,000 images. Exact copies are always removed.

    `broken: skip` leaves out training images that cannot be read; `stop` lists them in an error. A broken test image is
    always an error.

    `packed` makes copies of the training images, so that `crop: random-resized` decodes only the crop. Their pixels
    differ a little, and so do checkpoints.
    """

    chosen_by = "source"
    registry = SOURCES
    # Defaults of the source, for a recipe that does not set these keys.
    own_clip: ClassVar[str | None] = None  # of `retrieved.clip`
    own_prompts: ClassVar[str] = "openai"  # of `generate.prompts.templates`
    together: ClassVar[ImageRule | None] = None  # of `groups_apart`, within the source
    has_published_lines: ClassVar[bool] = False  # baseline lines alone
    needs: ClassVar[str] = ""  # the requirements of the source, in words

    source: str = "pictograms"
    classes: Annotated[ClassSample | tuple[str, ...] | str, BeforeValidator(_accept_sample)] = later_key("all")
    shifts: dict[Name, NamedImages] = Field(default_factory=dict)
    generated: Images | None = None
    retrieved: Annotated[RetrievedConfig, BeforeValidator(_accept_path)] = RetrievedConfig()
    unlabeled: dict[Name, Images] = later_key({})
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
        """Return the classes if they depend on the section alone. None if they depend on the images."""
        return None

    @property
    def search_clip(self) -> str | None:
        """The CLIP that searches `retrieved`. None if the recipe must name one."""
        return self.retrieved.clip or self.own_clip

    @field_validator("shifts", mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        """Drop the shifts that ``--set data.shifts.NAME=null`` leaves out."""
        if not isinstance(value, dict):
            return value
        return {name: shift for name, shift in value.items() if shift is not None}

    @field_validator("groups", mode="before")
    @classmethod
    def _accept_one_rule(cls, value: Any) -> Any:
        """Accept one rule for all test sets, or a mapping of a rule for each."""
        if value is None or isinstance(value, GroupRule):
            return value
        if not isinstance(value, dict) or not value:
            raise ValueError(f"give one rule, {RULE}, or a rule for each test set by its name (got {shown(value)})")
        # The keys of a rule are texts. If any value is a mapping, the keys are names of test sets.
        if not any(isinstance(rule, dict | GroupRule) for rule in value.values()):
            return GroupRule.model_validate(value)
        for name, rule in value.items():
            if not isinstance(rule, dict | GroupRule):
                raise ValueError(f"{name}: give the rule of a test set, {RULE} (got {shown(rule)})")
        return {name: checked(GroupRule, rule, name) for name, rule in value.items()}


def _paths_in(value: Any, key: str) -> Iterator[tuple[str, Path]]:
    """Yield the paths in a section and in its subsections, by their dotted keys."""
    if isinstance(value, Path):
        # A set of images is named by its own key.
        yield key.removesuffix(".path"), value
    elif isinstance(value, Section | dict):
        items = value.items() if isinstance(value, dict) else value
        for name, inner in items:
            yield from _paths_in(inner, f"{key}.{name}")
