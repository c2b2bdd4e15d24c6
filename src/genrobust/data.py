"""The nouns: what one stage hands to the next. All frozen; none knows torch or a disk.

``Recipe -> Request -> shards -> mixture -> checkpoint -> Predictions -> Score -> report``
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from genrobust.errors import UserError


def digest(value: Any, length: int = 12) -> str:
    """Hex SHA-256 of `value`'s canonical JSON, cut to `length`: the name of a stage's folder.

    Two values with the same digest ask for the same work; dictionaries are compared without their order.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no canonical JSON")


def hashed_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on `parts` alone: the same in every process and order of work, on every machine."""
    return int(digest(parts, 16), 16) >> 1


def slug(text: str) -> str:
    """`text` as a key part: ASCII letters, digits, ``-`` and ``_`` alone. Text beyond those gets a short hash."""
    plain = re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-")
    if plain == text:
        return plain
    ascii_only = text.isascii() and re.sub(r"[^a-z0-9]+", "", text.lower()) != ""
    return plain if ascii_only else f"{plain or 'class'}-{digest(text, 6)}"


# --------------------------------------------------------------------------------------------- classes


@dataclass(frozen=True, slots=True)
class ClassLabel:
    """One class: `id` names files and keys (wnid or slug), `name` is shown, `prompt` is what a prompt says.

    `name` and `prompt` differ where a name means two things: the bird "crane" is prompted as "crane bird".
    """

    id: str
    name: str
    prompt: str


@dataclass(frozen=True, slots=True)
class LabelSpace:
    """The ordered classes of a study. A label is an index into it; logits are [N, len(labels)].

    Every id differs, and every prompt unless `shared_prompts`, as in CLIP's list of ImageNet's class names.
    """

    classes: tuple[ClassLabel, ...]
    shared_prompts: bool = False

    def __post_init__(self) -> None:
        prompts = [] if self.shared_prompts else [c.prompt for c in self.classes]
        for what, values in (("id", self.ids), ("prompt", prompts)):
            twice = sorted({v for v in values if list(values).count(v) > 1})
            if twice:
                raise UserError(f"two classes share the {what} {twice[0]!r}: give each class a {what} of its own")
        if len(self.classes) < 2:
            raise UserError(f"a classifier needs two classes or more; this label space has {len(self.classes)}")

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(c.id for c in self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.classes)

    def index(self, id: str) -> int:
        """The label of class `id`; raises UserError that lists near names where there is none."""
        try:
            return self.ids.index(id)
        except ValueError:
            known = ", ".join(self.ids[:12]) + (" ..." if len(self) > 12 else "")
            raise UserError(f"no class {id!r}; the classes are {known}") from None


# --------------------------------------------------------------------------------------------- images


class ImageSet(Protocol):
    """Labelled images, read when asked for. Implemented by every source and by a generated dataset.

    `labels` is int64 [N] into the study's LabelSpace; `keys` name the images and are unique; `styles` is one string
    an image ("" where unknown); `fingerprint` changes when any image or label does.

    A set may have two attributes more: `accepted`, for each image the labels that are right, its own first (None: its
    own alone), and `protocol`, which says in words how its images or labels differ from how they lie on the disk.
    """

    name: str
    labels: np.ndarray
    keys: Sequence[str]
    styles: Sequence[str]
    fingerprint: str

    def __len__(self) -> int: ...

    def image(self, index: int) -> Image.Image:
        """Image `index` as RGB, in its own size."""
        ...


class Subset:
    """The images of an ImageSet at `indices` (integers [M], in that order): a prefix, a split, a matched sample."""

    def __init__(self, images: ImageSet, indices: np.ndarray | Sequence[int], name: str | None = None) -> None:
        self._images = images
        self._indices = np.asarray(indices, dtype=np.int64)
        self.name = images.name if name is None else name
        self.labels = images.labels[self._indices]
        self.keys: Sequence[str] = [images.keys[i] for i in self._indices]
        self.styles: Sequence[str] = [images.styles[i] for i in self._indices]
        accepted = getattr(images, "accepted", None)
        self.accepted = None if accepted is None else tuple(accepted[i] for i in self._indices)
        self.protocol: str = getattr(images, "protocol", "")
        self.fingerprint = digest([images.fingerprint, self._indices.tolist()])

    def __len__(self) -> int:
        return len(self._indices)

    def image(self, index: int) -> Image.Image:
        return self._images.image(int(self._indices[index]))


@dataclass(frozen=True, slots=True)
class StudyData:
    """The real images of a study: what trains, what chooses a checkpoint, what tests, what may be retrieved.

    `tests` maps a name to its set; `clean` is the name of the unshifted one, `shifts` the shifted ones. `retrieval` is
    the generator's own training data, where it is at hand. `choosing` is a shifted validation set, on which anything
    about generation may be chosen. `extra` are further images to train on, by the name that arms mix them under.
    """

    labels: LabelSpace
    train: ImageSet
    val: ImageSet
    tests: dict[str, ImageSet]
    clean: str
    retrieval: ImageSet | None = None
    choosing: ImageSet | None = None
    extra: dict[str, ImageSet] = field(default_factory=dict)

    @property
    def shifts(self) -> tuple[str, ...]:
        return tuple(name for name in self.tests if name != self.clean)


@dataclass(frozen=True, slots=True)
class Request:
    """One image to make. A plan of them is a pure function of the recipe.

    `key` is ``{class id}-{index:06d}``, or ``{class id}-val-{index:06d}`` in a validation part; `seed` is a 63-bit hash
    of (data_seed, key): never of rank, batch or time.
    `template` is the template's text, `style` the style that it names ("" for none), `source` the key of the real image
    that conditions it (None for text alone).
    """

    key: str
    label: int
    class_id: str
    prompt: str
    template: str
    negative_prompt: str
    style: str
    seed: int
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """An image with its label and what is known of it. `image` is RGB uint8 [H, W, 3]."""

    key: str
    label: int
    image: np.ndarray
    meta: dict[str, Any] = field(default_factory=dict)


# --------------------------------------------------------------------------------------------- results


@dataclass(frozen=True, slots=True)
class Predictions:
    """The logits of one checkpoint on one test set: every metric is a pure function of these.

    `logits` float32 [N, K] over `classes` (K ids), `labels` int64 [N], `keys` N names. `accepted` is None, or for each
    image the tuple of labels that count as right (one-to-many maps such as ObjectNet's). `protocol` says how the images
    were prepared ("64 px: shorter side resized ..."), so that accuracies are compared with their like.
    """

    test_set: str
    logits: np.ndarray
    labels: np.ndarray
    keys: tuple[str, ...]
    classes: tuple[str, ...]
    protocol: str
    accepted: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """A figure in percent (or points) with its interval, over `n` images and `classes` classes.

    `method` names the interval: "Clopper-Pearson 95 %", "bootstrap 95 % over baselines" and so on.
    """

    value: float
    lo: float
    hi: float
    n: int
    classes: int
    method: str


@dataclass(frozen=True, slots=True)
class BaselineModel:
    """A standard model on one shifted set: its clean and shifted accuracy in percent, over the same classes."""

    model: str
    test_set: str
    clean: float
    shifted: float


@dataclass(frozen=True, slots=True)
class Line:
    """The baseline line of one shifted set: transform(shifted) = intercept + slope x transform(clean).

    Accuracies enter as fractions; `residual_sd` is in transformed space with n - 2 degrees of freedom; `lo` and `hi`
    bound the clean accuracies, in percent, that the fit has seen, and `centre` is the mean of these, transformed.
    """

    test_set: str
    transform: str
    slope: float
    intercept: float
    r2: float
    n: int
    residual_sd: float
    lo: float
    hi: float
    centre: float


@dataclass(frozen=True, slots=True)
class Plane:
    """The baseline fit over D ID sets: transform(shifted) = intercept + the sum of slope x transform(ID accuracy).

    `slopes`, and the percents `lo` and `hi` that bound the accuracies which the fit has seen, are in the order of
    `id_sets`; `residual_sd` has n - D - 1 degrees of freedom. All else is as in `Line`.
    """

    test_set: str
    id_sets: tuple[str, ...]
    transform: str
    slopes: tuple[float, ...]
    intercept: float
    r2: float
    n: int
    residual_sd: float
    lo: tuple[float, ...]
    hi: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm, one seed, one test set.

    `top1` is over the set's own classes, logits restricted to them; `top1_all` over every class; `clean` is the clean
    test set's top-1 restricted to the same classes; `er` the effective robustness in points, None without a line.
    """

    arm: str
    seed: int
    test_set: str
    top1: Score
    top1_all: Score
    clean: Score
    er: Score | None
    extrapolated: bool


ZERO_SHOT = "zero-shot CLIP"  # stands for an arm's name where a CLIP answers that the study did not train
MEAN_OF_SHIFTS = "mean of shifts"  # stands for a test set's name where a figure is the mean over `Summary.shifts`


@dataclass(frozen=True, slots=True)
class Difference:
    """`arm` minus `reference` in points on `test_set` (or MEAN_OF_SHIFTS); `figure` is "top1" or "er"."""

    arm: str
    reference: str
    test_set: str
    figure: str
    score: Score


@dataclass(frozen=True, slots=True)
class Group:
    """The mean over `arms`, which are one mixture with several architectures; each of them counts the same.

    `top1` and `er` map a test set (or MEAN_OF_SHIFTS) to the mean, in percent and points; `top1_gain` and `er_gain` to
    the mean of each arm's difference from its own reference, in points. `reference` names what is subtracted there: a
    group, or an arm. It is empty, and so are the gains, where that has no one name or an arm of the group is in it.
    """

    name: str
    arms: tuple[str, ...]
    reference: str
    top1: dict[str, Score]
    er: dict[str, Score]
    top1_gain: dict[str, Score]
    er_gain: dict[str, Score]


@dataclass(frozen=True, slots=True)
class MultiID:
    """Effective robustness beyond what the accuracies on the clean set and on the test set `second` predict together.

    `planes` are by shift; `arm_er` maps (arm, shift) and `mean_er` an arm to its mean over seeds, in points, as in
    `Summary`. `beyond` names the (arm, shift) of which an ID accuracy lies outside those the plane was fitted on.
    """

    second: str
    planes: dict[str, Plane]
    arm_er: dict[tuple[str, str], Score]
    mean_er: dict[str, Score]
    beyond: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that a study measured. `shifts` are those in the mean; `left_out` maps the others to a reason.

    `mean_top1`, `mean_er` map an arm to its mean over shifts and seeds; `arm_top1` and `arm_er` map (arm, test set) to
    the mean over seeds. `protocols` says of each test set how its images were prepared and what counts as right.
    `trained_elsewhere` names those of `arms` that are none: models that learned from other data, for comparison, whose
    answers are the same for every seed. `references` says what each arm is compared with, itself where with none;
    `groups` are the means over several arms. `multi_id` is there where the study names a second in-distribution set.
    """

    arms: tuple[str, ...]
    reference: str
    seeds: tuple[int, ...]
    clean: str
    shifts: tuple[str, ...]
    left_out: dict[str, str]
    cells: tuple[Cell, ...]
    lines: dict[str, Line]
    arm_top1: dict[tuple[str, str], Score]
    arm_er: dict[tuple[str, str], Score]
    mean_top1: dict[str, Score]
    mean_er: dict[str, Score]
    differences: tuple[Difference, ...]
    protocols: dict[str, str]
    trained_elsewhere: tuple[str, ...] = ()
    multi_id: MultiID | None = None
    references: dict[str, str] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()

    def reference_of(self, arm: str) -> str:
        """The arm that `arm` is compared with; `arm` itself where with none."""
        return self.references.get(arm, self.reference)


@dataclass(frozen=True, slots=True)
class Claim:
    """What is claimed: `arm` is better than `than` in `figure` ("top1" or "er") on `test_set` (or MEAN_OF_SHIFTS).

    `says` puts it in words, `source` names who made it.
    """

    says: str
    arm: str
    than: str
    figure: str
    test_set: str
    source: str


@dataclass(frozen=True, slots=True)
class SourceQuality:
    """What the images of one source of a study are like, in the eyes of a CLIP, at equal numbers for all sources.

    `n` images were looked at, of `made`. `fid`, `kid`, `precision` and `recall` (fractions) compare them with the real
    training images: None for these. `distance` is the mean distance of two images of a class, `vendi` their effective
    number (Vendi score) among `per_class` (a mean over classes); None where a class has but one. `clip_score` is the
    mean cosine, times 100, of image and class, `agreement` the share that the CLIP takes for their class.
    `per_second` images were made in a second; None where none were, or the time is not known.
    """

    source: str
    made: int
    n: int
    fid: float | None
    kid: float | None
    precision: float | None
    recall: float | None
    per_class: float
    distance: float | None
    vendi: float | None
    clip_score: float
    agreement: float
    per_second: float | None = None


# The sources of a mixture that are no generated dataset in any study: the control with retrieved images is matched to
# the generated ones by class and style, or by class alone.
REAL, RETRIEVED, RETRIEVED_BY_CLASS = NOT_GENERATED = ("real", "retrieved", "retrieved-by-class")


@dataclass(frozen=True, slots=True)
class ArmRecord:
    """What one arm trained on: `parts` maps a source ("real", "generated" ...) to its number of images.

    `augmentation` names all that changes them (see `TrainConfig.augmented`), `steps` are those that ran.
    """

    name: str
    parts: dict[str, int]
    architecture: str
    augmentation: str
    steps: int
    batch_size: int


@dataclass(frozen=True, slots=True)
class StageRecord:
    """What one stage took: `seconds` of work (0 when it was found done), `items` of `unit` made."""

    stage: str
    seconds: float
    items: int
    unit: str
    reused: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """An image for the report's gallery: PNG bytes with what it shows and where it came from."""

    png: bytes
    origin: str
    class_name: str
    style: str
    caption: str


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """All that a report shows. `command` runs the study again; `environment` is name to version or fact.

    `not_generated` names the sources that are no generated dataset, `baselines` are the standard models that the lines
    of `summary` were fitted on, `claims` what the study tests, `qualities` say what the images of each source are like,
    and `kinds` which published set a shifted one is, as in `ShiftConfig`.
    """

    title: str
    question: str
    command: str
    recipe_yaml: str
    date: str
    summary: Summary
    arms: tuple[ArmRecord, ...]
    stages: tuple[StageRecord, ...]
    pictures: tuple[Picture, ...]
    environment: dict[str, str]
    notes: tuple[str, ...] = ()
    baselines: tuple[BaselineModel, ...] = ()
    not_generated: tuple[str, ...] = NOT_GENERATED
    claims: tuple[Claim, ...] = ()
    qualities: tuple[SourceQuality, ...] = ()
    kinds: dict[str, str] = field(default_factory=dict)
