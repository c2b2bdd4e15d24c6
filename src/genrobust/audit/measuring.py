"""The audit of a dataset: every measure that the sets and models at hand allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from genrobust.audit.agreement import Agreement, agreement, least_agreeing
from genrobust.audit.diversity import by_class, common_counts, first_of_each_class
from genrobust.audit.duplicates import SAMPLE, Compared, Duplicates, Memorization, compare, memorization
from genrobust.audit.fidelity import NEIGHBOURS, Fidelity, fidelity, halves
from genrobust.audit.pixels import PixelStatistics
from genrobust.audit.scan import THUMBNAIL, Scan, common_size, scan
from genrobust.classifiers import (
    Classifier,
    Clip,
    OpenClassifier,
    clip_embeddings,
    embed_classes,
    embed_images,
    embed_texts,
    load_clip,
)
from genrobust.core import ImageSet, LabelSpace, progress_bar
from genrobust.data import USED, Filter, Making, ShardDataset, filters_of, making

WORST = 24  # images that disagree most with their label, kept to be looked at
PLAIN_TEMPLATE = "a photo of a {}"  # what CLIP is told of an image whose prompt is not known


@dataclass(frozen=True, slots=True)
class Sets:
    """What is audited, against what: `real` training images, `tests` by name, and the generator's own training images
    (`wild`). `prompts` are the images' own, [N], empty where they are not known; `templates` are those they came from.
    """

    dataset: ImageSet
    labels: LabelSpace
    real: ImageSet | None
    tests: dict[str, ImageSet]
    wild: ImageSet | None
    prompts: tuple[str, ...] = ()
    templates: tuple[str, ...] = (PLAIN_TEMPLATE,)


@dataclass(frozen=True, slots=True)
class Models:
    """What images are shown to: a classifier trained on real images and the folder of a CLIP, or None."""

    classifier: OpenClassifier | None
    clip: Path | None
    device: torch.device
    batch_size: int = 256


@dataclass(frozen=True, slots=True)
class ClassDiversity:
    """Mean pairwise distance and Vendi score of `n` generated images of a class and of as many real ones (or None)."""

    label: int
    n: int
    distance: float
    vendi: float
    real_distance: float | None
    real_vendi: float | None


@dataclass(frozen=True, slots=True)
class Space:
    """Measures over the features called `name`.

    `fidelity` compares generated with real images, `floor` two halves of the real ones: what real images would score.
    Both are None without real images. `note` says why a figure is missing, or what limits it.
    """

    name: str
    dimensions: int
    fidelity: Fidelity | None
    floor: Fidelity | None
    diversity: tuple[ClassDiversity, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """How often the model called `judge` takes an image for its label; `worst` are (image, class taken for), surest
    mistakes first. `real` is the same share for the real images, where the model has not been trained on them.
    """

    judge: str
    agreement: Agreement
    real: float | None
    worst: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ClipScore:
    """Mean cosine of image and prompt, times 100. `own` is over the prompts that the images were made from, or None.

    `classes` maps a label to the mean over its images of the cosine with its class (the mean of all templates), `named`
    is the mean over all images, and `real` that of the real images, or None.
    """

    own: float | None
    named: float
    real: float | None
    classes: dict[int, float]


@dataclass(frozen=True, slots=True)
class Audit:
    """Everything that was measured; None, or a lack in a tuple, where `left_out` says why and what to give."""

    n: int
    per_class: dict[int, int]
    making: Making | None
    filters: tuple[Filter, ...]
    pixels: PixelStatistics
    real_pixels: PixelStatistics | None
    inside: Duplicates | None
    of_real: Duplicates | None
    of_tests: tuple[Duplicates, ...]
    of_wild: Duplicates | None
    memorization: Memorization | None
    spaces: tuple[Space, ...]
    judgements: tuple[Judgement, ...]
    clip_score: ClipScore | None
    left_out: tuple[str, ...]

    @property
    def leaks(self) -> dict[str, int]:
        """Test sets of which the dataset holds copies, with the number of its images that are such."""
        return {found.against: found.exact + found.near for found in self.of_tests if found.exact + found.near}


def measure(sets: Sets, models: Models, say: Callable[[str], None] = lambda line: None) -> Audit:
    """Audit `sets.dataset`. Each image is read once, of the dataset and the real images once more for each model.

    Raises UserError for an empty set, an image that cannot be read, and a classifier that lacks one of the classes.
    """
    judge, columns = models.classifier, []
    if judge is not None:
        columns = judge.columns(sets.labels)
    shown = [images for images in (sets.dataset, sets.real) if images is not None]
    size = common_size(*shown)
    scans = [_scanned(images, size) for images in shown]
    mine = scans[0]
    real = scans[1] if sets.real is not None else None
    wild, remembered = _memory(sets.wild, mine, size)
    spaces = [_space(f"thumbnails of {THUMBNAIL} px", sets, [s.thumbnails for s in scans])]
    judgements, score, featureless = [], None, False
    if judge is not None:
        say(f"showing the images to the classifier {judge.name}")
        features, logits = _by_classifier(judge, shown, models)
        spaces += [_space("classifier features", sets, features)] if features else []
        featureless = not features
        judgements.append(_judgement("the classifier", logits[:, columns], sets.dataset, None))
    if models.clip is not None:
        say(f"showing the images to the CLIP in {models.clip}")
        space, judgement, score = _by_clip(models.clip, sets, shown, models)
        spaces.append(space)
        judgements.append(judgement)
    shards = sets.dataset if isinstance(sets.dataset, ShardDataset) else None
    return Audit(
        n=len(sets.dataset),
        per_class={label: int((sets.dataset.labels == label).sum()) for label in range(len(sets.labels))},
        making=making(shards.metadata(USED)) if shards else None,
        filters=filters_of(shards.folder) if shards else (),
        pixels=mine.pixels,
        real_pixels=real.pixels if real else None,
        inside=_compared("itself", mine, mine, itself=True).duplicates if len(sets.dataset) > 1 else None,
        of_real=_compared("the real images", mine, real).duplicates if real else None,
        of_tests=tuple(_compared(n, mine, _scanned(images, size, n)).duplicates for n, images in sets.tests.items()),
        of_wild=wild,
        memorization=remembered,
        spaces=tuple(spaces),
        judgements=tuple(judgements),
        clip_score=score,
        left_out=tuple(_left_out(sets, models, featureless)),
    )


def _left_out(sets: Sets, models: Models, featureless: bool) -> Sequence[str]:
    """What was not measured, each with how to have it."""
    lacking = [
        (sets.real is None, "Nothing was compared with real images: give them with --against DIR or RECIPE."),
        (not sets.tests, "No test set was searched for leaks: give each with --test NAME=DIR, or --against RECIPE."),
        (
            sets.wild is None,
            "Memorization was not looked for: give the generator's own training images with --train-of-generator DIR.",
        ),
        (
            models.classifier is None,
            "No classifier looked at the images: give one that was trained on real images with --classifier MODEL.",
        ),
        (
            featureless,
            "The classifier gives answers and no features, so nothing was measured among its features: for that, give "
            "a checkpoint or a model of timm's.",
        ),
        (models.clip is None, "No CLIP score and no zero-shot labels: give a CLIP with --clip FOLDER."),
    ]
    return [sentence for lacks, sentence in lacking if lacks]


# ------------------------------------------------------------------------------------------ one set or two


def _scanned(images: ImageSet, size: int, name: str = "") -> Scan:
    with progress_bar(f"reading {name or images.name}", len(images)) as bar:
        return scan(images, size, bar.advance)


def _compared(name: str, mine: Scan, other: Scan, itself: bool = False) -> Compared:
    with progress_bar(f"looking for copies, {name}", len(mine.frames)) as bar:
        found = (mine.frames, mine.sha256, other.frames, other.sha256)
        return compare(name, *found, itself=itself, advance=bar.advance)


def _memory(wild: ImageSet | None, mine: Scan, size: int) -> tuple[Duplicates | None, Memorization | None]:
    if wild is None:
        return None, None
    other = _scanned(wild, size)
    found = _compared(wild.name, mine, other)
    if len(wild) < 2:
        return found.duplicates, None
    with progress_bar("measuring the training images", min(len(wild), SAMPLE)) as bar:
        return found.duplicates, memorization(found.neighbours, other.frames, bar.advance)


# ------------------------------------------------------------------------------------------ models


def _by_classifier(
    judge: OpenClassifier, shown: Sequence[ImageSet], models: Models
) -> tuple[list[np.ndarray], np.ndarray]:
    """The features of each of the sets `shown`, none where the classifier has none, and its logits for the first."""
    network = judge.load(models.device)
    if not (isinstance(network, Classifier) and network.has_features):
        with progress_bar(f"classifier, {shown[0].name}", len(shown[0])) as bar:
            return [], judge.logits(shown[0], models.batch_size, models.device, bar.advance)
    found = []
    for images in shown:
        with progress_bar(f"classifier, {images.name}", len(images)) as bar:
            how = (judge.prepare, models.batch_size, models.device, bar.advance)
            found.append(embed_images(network, images, *how))
    return [features for features, _ in found], found[0][1]


def _by_clip(folder: Path, sets: Sets, shown: Sequence[ImageSet], models: Models) -> tuple[Space, Judgement, ClipScore]:
    clip = load_clip(folder, models.device)
    features = []
    for images in shown:
        with progress_bar(f"CLIP, {images.name}", len(images)) as bar:
            features.append(clip_embeddings(clip, images, models.batch_size, bar.advance))
    classes = embed_classes(clip, sets.templates, [c.prompt for c in sets.labels.classes])
    real = None
    if sets.real is not None:
        real = agreement(features[1] @ classes.T, sets.real.labels, sets.real.styles).share
    judgement = _judgement("zero-shot CLIP", clip.logit_scale * features[0] @ classes.T, sets.dataset, real)
    return _space("CLIP embeddings", sets, features), judgement, _clip_score(clip, sets, features, classes)


def _space(name: str, sets: Sets, features: Sequence[np.ndarray]) -> Space:
    """Measures over `features` of the dataset and, where there are real images, of those."""
    mine = features[0]
    if sets.real is None:
        counts = common_counts(sets.dataset.labels)
        return Space(name, mine.shape[1], None, None, _diversity(sets, counts, features), "")
    counts = common_counts(sets.dataset.labels, sets.real.labels)
    one, other = (features[1][half] for half in halves(sets.real.labels))
    compared = floor = None
    note = ""
    if min(len(mine), len(one), len(other)) <= NEIGHBOURS:
        note = f"Fewer than {2 * NEIGHBOURS + 2} images on a side are too few to compare distributions."
    else:
        compared, floor = fidelity(mine, features[1]), fidelity(one, other)
        least = min(len(mine), len(one))
        if least < 2 * mine.shape[1]:
            note = (
                f"FID is too high where images are few: {least:,} for {mine.shape[1]:,} features. "
                "Compare it at equal numbers alone; KID has no such bias."
            )
    return Space(name, mine.shape[1], compared, floor, _diversity(sets, counts, features), note)


def _diversity(sets: Sets, counts: dict[int, int], features: Sequence[np.ndarray]) -> tuple[ClassDiversity, ...]:
    """By class, over as many generated as real images."""
    counts = {label: n for label, n in counts.items() if n > 1}
    found = []
    for images, of in zip((sets.dataset, sets.real), features, strict=False):
        assert images is not None  # there are features of it
        chosen = first_of_each_class(images.labels, counts)
        found.append(by_class(of[chosen], images.labels[chosen], counts))
    return tuple(
        ClassDiversity(label, n, *found[0][label], *(found[1][label] if len(found) > 1 else (None, None)))
        for label, n in counts.items()
    )


# ------------------------------------------------------------------------------------------ labels


def _judgement(judge: str, logits: np.ndarray, images: ImageSet, real: float | None) -> Judgement:
    worst = least_agreeing(logits, images.labels, WORST)
    found = agreement(logits, images.labels, images.styles)
    return Judgement(judge, found, real, tuple((i, int(logits[i].argmax())) for i in worst))


def _clip_score(clip: Clip, sets: Sets, features: Sequence[np.ndarray], classes: np.ndarray) -> ClipScore:
    own = None
    if sets.prompts:
        unique = list(dict.fromkeys(sets.prompts))
        texts = embed_texts(clip, unique)
        place = {text: i for i, text in enumerate(unique)}
        own = 100 * float((features[0] * texts[[place[p] for p in sets.prompts]]).sum(axis=1).mean())
    named = (features[0] * classes[sets.dataset.labels]).sum(axis=1)
    real = None
    if sets.real is not None:
        real = 100 * float((features[1] * classes[sets.real.labels]).sum(axis=1).mean())
    of_class = {int(k): 100 * float(named[sets.dataset.labels == k].mean()) for k in np.unique(sets.dataset.labels)}
    return ClipScore(own, 100 * float(named.mean()), real, of_class)
