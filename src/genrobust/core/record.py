"""The contents of a report beside the scores of a study."""

from __future__ import annotations

from dataclasses import dataclass, field

from genrobust.core.images import NOT_GENERATED
from genrobust.core.results import BaselineModel, Summary


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim: `arm` is better than `than` in a metric ("top1", "er" ...) on `test_set` (or MEAN_OF_SHIFTS).

    `says` puts it in words, `source` names who made it.
    """

    says: str
    arm: str
    than: str
    metric: str
    test_set: str
    source: str


@dataclass(frozen=True, slots=True)
class SourceQuality:
    """Image quality of one source of a study, measured on CLIP embeddings of equally many images of each source.

    `n` of `made` images were measured. `fid`, `kid`, `precision` and `recall` (fractions) compare them with the real
    training images: None for these. `distance` is the mean distance of two images of a class, `vendi` their effective
    number (Vendi score) among `per_class` (a mean over classes); None where a class has but one. `clip_score` is the
    mean cosine, times 100, of image and class, `agreement` the share that the CLIP takes for their class.
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


@dataclass(frozen=True, slots=True)
class ArmRecord:
    """The training of one arm: `parts` maps a source ("real", "generated" ...) to its number of images.

    `augmentation` names all that changes them (see `TrainConfig.augmented`), `steps` are those that ran. `val_top1` is
    the accuracy in percent on the validation images, a mean over seeds. `seconds` maps a stage ("generate", "train"
    ...) to what it takes one core, or the device that is no CPU, to make the arm with one seed, all its images
    included; empty where a rate is not known. `trained` maps a seed to the hash of all that its training depended on.
    `drawing` says of a source which of its images are drawn, and how, unless as usual. `started_from` is the arm whose
    classifier it goes on from, "" for none.
    """

    name: str
    parts: dict[str, int]
    architecture: str
    augmentation: str
    steps: int
    batch_size: int
    val_top1: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    trained: dict[str, str] = field(default_factory=dict)
    drawing: dict[str, str] = field(default_factory=dict)
    started_from: str = ""


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of the test sets, classes in a style, of which the training images of `arms` have some and lack others.

    `present` and `absent` name these parts of the test sets in `Summary.subsets`; `lacking` are the cells that are
    absent, each with the number of its test images: class, style, images.
    """

    arms: tuple[str, ...]
    present: str
    absent: str
    lacking: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """The classifiers between the pretrained network of an `arm` and its fine-tuned one (WiSE-FT).

    `summary` measures them as if they were arms, each called by its number: "0" is before, "1" after fine-tuning.
    """

    arm: str
    summary: Summary


@dataclass(frozen=True, slots=True)
class StageRecord:
    """The time of one stage: `seconds` of work (0 when it was found done), `items` of `unit` made."""

    stage: str
    seconds: float
    items: int
    unit: str
    reused: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """An image for a report: PNG or WebP bytes with what it shows and where it came from."""

    data: bytes
    origin: str
    class_name: str
    style: str
    caption: str


@dataclass(frozen=True, slots=True)
class MissedPicture:
    """An image of `test_set` that every classifier gets wrong: PNG or WebP bytes, its key and class.

    `predicted` is the class that most classifiers give, with their share: "crane (75 %)".
    """

    data: bytes
    test_set: str
    class_name: str
    predicted: str
    key: str


@dataclass(frozen=True, slots=True)
class MadeBy:
    """The `versions`, by name, that made `count` artifacts of a `kind`; "code" is a hash of genrobust's modules."""

    kind: str
    count: int
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """Everything that a report shows. `command` runs the study again; `environment` is name to version or fact.

    `not_generated` names the sources that are no generated dataset, `baselines` are the standard models that the lines
    of `summary` were fitted on, and `claims` are what the study tests. `answer` is the arm or group that the recipe
    names for the answer, "" for none. `class_names` are those of the label space; `missed` are the images that every
    classifier gets wrong, by their test set. `made_by` says what made the results, which may be older than the report.
    `warnings` are what makes the answer doubtful. `on_cores` says whether the seconds of arms are
    those of CPU cores. `cells` are those that training images have and lack, where both are tested. `starts` says which
    arms start from which pretrained network, and which from scratch.
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
    curves: tuple[Curve, ...] = ()
    answer: str = ""
    class_names: tuple[str, ...] = ()
    missed: tuple[MissedPicture, ...] = ()
    made_by: tuple[MadeBy, ...] = ()
    warnings: tuple[str, ...] = ()
    on_cores: bool = True
    cells: tuple[Cells, ...] = ()
    starts: str = ""
