"""The record of a study: everything that its report shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from genrobust.core.images import NOT_GENERATED
from genrobust.core.scores import BaselineModel, Summary
from genrobust.core.unlabeled import Unlabeled


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim: `arm` is better than `than` in a metric ("top1", "er" ...) on `test_set` (or MEAN_OF_SHIFTS).

    Attributes:
        says: The claim in words.
        source: Who made it.
        equivalent: Claim instead that the two differ by at most this much, in the unit of the metric.
    """

    says: str
    arm: str
    than: str
    metric: str
    test_set: str
    source: str
    equivalent: float | None = None


@dataclass(frozen=True, slots=True)
class SourceQuality:
    """Image quality of one source of a study, measured on CLIP embeddings of equally many images of each source.

    Attributes:
        made: The number of images of the source.
        n: The number of measured images.
        fid: The distance to the real training images. None for these, as are `kid`, `precision` and `recall`.
        precision: The share of images among the real ones, a fraction.
        recall: The share of real images among these, a fraction.
        per_class: The number of images per class for `distance` and `vendi`, a mean over classes.
        distance: The mean distance of two images of a class. None if a class has only one.
        vendi: The effective number of images of a class (Vendi score). None if a class has only one.
        clip_score: The mean cosine of image and class, times 100.
        agreement: The share of images that the CLIP assigns to their class.
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
    """The training of one arm.

    Attributes:
        parts: The number of images of each source ("real", "generated").
        augmentation: Everything that changes the images (see `TrainConfig.augmented`).
        steps: The steps that ran.
        val_top1: Accuracy on the validation images in percent, a mean over seeds.
        seconds: By stage ("generate", "train"), the seconds of one core, or of the device if it is no CPU, to make the
            arm with one seed and all its images. Empty if a rate is unknown.
        trained: By seed, the hash of everything that the training depended on.
        drawing: By source, which of its images are drawn and how, if not as usual.
        val_curve: Validation accuracy in percent by step, a mean over seeds.
        started_from: The arm whose classifier its training starts from, "" for none.
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
    val_curve: dict[int, float] = field(default_factory=dict)
    started_from: str = ""


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of the test sets, classes in a style, if the training images of `arms` have some and lack others.

    Attributes:
        present: The name in `Summary.subsets` of the cells that the training images have.
        absent: The name of the cells that they lack.
        lacking: The cells that they lack: class, style, and the number of test images.
    """

    arms: tuple[str, ...]
    present: str
    absent: str
    lacking: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """The classifiers between the pretrained network of an `arm` and its fine-tuned one (WiSE-FT).

    Attributes:
        summary: Their scores, as if they were arms. Each has its share of fine-tuning as name: "0" is before
            fine-tuning, "1" after.
    """

    arm: str
    summary: Summary


@dataclass(frozen=True, slots=True)
class StageRecord:
    """The time of one stage.

    Attributes:
        seconds: 0 if it was found done.
        items: The number of things that it made.
        unit: The noun of these things: "images".
        reused: Whether it was found done.
    """

    stage: str
    seconds: float
    items: int
    unit: str
    reused: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """An image for a report, with its class, style and origin.

    Attributes:
        data: PNG or WebP bytes.
        origin: The source that it comes from.
    """

    data: bytes
    origin: str
    class_name: str
    style: str
    caption: str


@dataclass(frozen=True, slots=True)
class MissedPicture:
    """An image that every classifier gets wrong, or a classifier of one arm.

    Attributes:
        data: PNG or WebP bytes.
        predicted: The class that most classifiers predict, with their share: "crane (75 %)". With one arm, the class
            that it predicts, with its confidence.
        arm: The arm, "" for every classifier.
    """

    data: bytes
    test_set: str
    class_name: str
    predicted: str
    key: str
    arm: str = ""


@dataclass(frozen=True, slots=True)
class DisputedPicture:
    """An image without a label on which the arms disagree.

    Attributes:
        data: PNG or WebP bytes.
        image_set: The name of the set.
        predicted: The arms that predict each class: "dog: real, real+generated; cat: generated".
    """

    data: bytes
    image_set: str
    predicted: str
    key: str


@dataclass(frozen=True, slots=True)
class MadeBy:
    """The versions that made artifacts of one kind.

    Attributes:
        kind: The kind of artifacts: "checkpoints".
        count: Their number.
        versions: The version of each library, by name; "code" is a hash of genrobust's modules.
    """

    kind: str
    count: int
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """Everything that a report shows.

    Attributes:
        command: The command that runs the study again.
        environment: Versions and facts about the machine, by name.
        baselines: The standard models that the lines of `summary` were fitted on.
        not_generated: The sources that are no generated dataset.
        answer: The arm or group that the recipe names for the answer, "" for none.
        missed: Images that every classifier gets wrong, and the most confident mistakes of each arm, by test set.
        made_by: The versions that made the results, which may be older than the report.
        warnings: Facts that make the answer doubtful.
        on_cores: Whether the seconds of arms are of CPU cores.
        cells: The cells that training images have and lack, if both are tested.
        unlabeled: Predictions and estimates for images without labels.
        disputed: Images without labels on which the arms disagree most, by their set.
        train_shares: The share of the real training images of each class, in the order of `class_names`.
        starts: Which arms start from which pretrained network, and which from scratch.
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
    unlabeled: Unlabeled = field(default_factory=Unlabeled)
    disputed: tuple[DisputedPicture, ...] = ()
    train_shares: tuple[float, ...] = ()
