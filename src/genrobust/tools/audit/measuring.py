"""The audit of a dataset: every measure that the given sets and models allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genrobust.classifiers import (
    Classifier,
    Clip,
    Feed,
    OpenClassifier,
    compute_in_parts,
    embed_classes,
    embed_images,
    embed_in_parts,
    embed_texts,
    load_clip,
)
from genrobust.core import Advance, Arrays, ImageSet, KeptParts, fair_order, progress_bar
from genrobust.data import (
    DISTANCE,
    NEAR,
    NEAREST,
    NEIGHBORS,
    PROBABILITY,
    TAKEN_FOR,
    USED,
    Neighbors,
    ShardDataset,
    agreement,
    by_class,
    common_counts,
    confidence,
    fidelity,
    filters_of,
    first_of_each_class,
    halves,
    least_agreeing,
    making,
)
from genrobust.study import AuditSets
from genrobust.tools.audit.duplicates import SAMPLE, compare, memorization
from genrobust.tools.audit.results import (
    Audit,
    ClassDiversity,
    ClipScore,
    Duplicates,
    FeatureSpace,
    Judgment,
    Memorization,
)
from genrobust.tools.audit.scan import THUMBNAIL, Scan, scan

Say = Callable[[str], None]
ByImage = dict[str, Sequence[Any]]  # as `Audit.by_image`, which is filled on the way
WORST = 24  # images that disagree most with their label, kept to be looked at


@dataclass(frozen=True, slots=True)
class Models:
    """The judges of an audit: a classifier trained on real images and the folder of a CLIP, or None."""

    classifier: OpenClassifier | None
    clip: Path | None
    device: torch.device
    batch_size: int


def measure(sets: AuditSets, models: Models, say: Say, parts: KeptParts) -> Audit:
    """Audit `sets.dataset`. Each image is read once, of the dataset and the real images once more for each model.

    `parts` keep what long work has found until they are removed: a killed audit goes on from there.

    Raises:
        UserError: An empty set, an image that cannot be read, or a classifier that lacks one of the classes.
    """
    judge = models.classifier
    columns = [] if judge is None else judge.columns(sets.labels)
    shown = [images for images in (sets.dataset, sets.real) if images is not None]
    scans = [_scan_images(images, parts) for images in shown]
    mine, real = scans[0], scans[1] if sets.real is not None else None
    by_image: ByImage = {}
    wild, remembered = _check_memorization(sets, mine, parts, by_image)
    spaces = [_feature_space(f"thumbnails of {THUMBNAIL} px", sets, [s.thumbnails for s in scans])]
    judgments, score, featureless = [], None, False
    if judge is not None:
        say(f"showing the images to the classifier {judge.name}")
        features, logits = _run_classifier(judge, shown, models, parts)
        spaces += [_feature_space("classifier features", sets, features)] if features else []
        featureless = not features
        judgments.append(_judgment("the classifier", logits[:, columns], sets, None, by_image))
    if models.clip is not None:
        say(f"showing the images to the CLIP in {models.clip}")
        space, judgment, score = _run_clip(models.clip, sets, shown, models, parts, by_image)
        spaces.append(space)
        judgments.append(judgment)
    inside = _neighbors("itself", sets.dataset, mine, mine, parts, by_image)[0] if len(sets.dataset) > 1 else None
    of_real = _neighbors("the real images", sets.real, mine, real, parts, by_image)[0] if sets.real and real else None
    return Audit(
        n=len(sets.dataset),
        near=NEAR,
        by_image=by_image,
        per_class=dict(enumerate(np.bincount(sets.dataset.labels, minlength=len(sets.labels)).tolist())),
        **_shard_facts(sets.dataset),
        inside=inside,
        of_real=of_real,
        of_tests=_copies_of_tests(sets, mine, parts, by_image),
        of_wild=wild,
        among=_copies_among(sets, mine, parts),
        memorization=remembered,
        spaces=tuple(spaces),
        judgments=tuple(judgments),
        clip_score=score,
        left_out=tuple(_left_out(sets, models, featureless)),
    )


def _shard_facts(images: ImageSet) -> dict[str, Any]:
    shards = images if isinstance(images, ShardDataset) else None
    return {
        "making": making(shards.metadata(USED)) if shards else None,
        "filters": filters_of(shards.folder) if shards else (),
    }


def _left_out(sets: AuditSets, models: Models, featureless: bool) -> Sequence[str]:
    """Return a sentence for each missing measure, with the option that adds it."""
    lacking = {
        "Nothing was compared with real images: give them with --against DIR or RECIPE.": sets.real is None
        and not sets.is_real,
        "No test set was searched for leaks: give each with --test NAME=DIR, or --against RECIPE.": not sets.tests,
        "Memorization was not looked for: give the generator's own training images with --trained-on DIR.": (
            sets.wild is None and not sets.is_real
        ),
        "Memorization is measured against the training images' own likeness, which is an approximation: give images of "
        "the same kind that the generator has never seen with --unseen DIR.": sets.wild is not None and not sets.unseen,
        "No classifier looked at the images: give one that was trained on real images with --classifier MODEL.": (
            models.classifier is None
        ),
        "The classifier gives answers and no features, so nothing was measured among its features: for that, give "
        "a checkpoint or a model of timm's.": featureless,
        "No CLIP score and no zero-shot labels: give a CLIP with --clip FOLDER.": models.clip is None,
    }
    return [sentence for sentence, lacks in lacking.items() if lacks]


def _scan_images(images: ImageSet, parts: KeptParts, name: str = "") -> Scan:
    with progress_bar(f"reading {name or images.name}", len(images)) as bar:
        return scan(images, parts, bar.advance)


def _find_copies(name: str, mine: Scan, other: Scan, parts: KeptParts) -> tuple[Duplicates, Neighbors]:
    with progress_bar(f"looking for copies, {name}", len(mine.frames)) as bar:
        neighbor_parts = parts.child("neighbors", mine.fingerprint, other.fingerprint, other is mine)
        return compare(
            name,
            mine.frames,
            mine.sha256,
            other.frames,
            other.sha256,
            itself=other is mine,
            parts=neighbor_parts,
            advance=bar.advance,
        )


def _neighbors(
    name: str, images: ImageSet, mine: Scan, other: Scan, parts: KeptParts, by_image: ByImage
) -> tuple[Duplicates, Neighbors]:
    """Find copies of the set `images`, and note each image's nearest there."""
    duplicates, neighbors = _find_copies(name, mine, other, parts)
    by_image[DISTANCE + name] = neighbors.distance.tolist()
    by_image[NEAREST + name] = [images.keys[i] for i in neighbors.index]
    return duplicates, neighbors


def _copies_of_tests(sets: AuditSets, mine: Scan, parts: KeptParts, by_image: ByImage) -> tuple[Duplicates, ...]:
    scans = ((name, images, _scan_images(images, parts, name)) for name, images in sets.tests.items())
    return tuple(_neighbors(name, images, mine, other, parts, by_image)[0] for name, images, other in scans)


def _copies_among(sets: AuditSets, mine: Scan, parts: KeptParts) -> dict[str, tuple[Duplicates, ...]]:
    """Return the copies among the images of a recipe's sets, those of test images in training images excepted.

    Each two sets are searched once, the smaller one in the larger: the alignment of an image with its candidates takes
    most of the time.
    """
    scans = {name: mine if name == "train" else _scan_images(own, parts, name) for name, own in sets.own.items()}
    among: dict[str, tuple[Duplicates, ...]] = {}
    for pair in combinations(scans, 2):
        if not (pair[0] == "train" and pair[1] in sets.tests):
            small, large = sorted(pair, key=lambda name: len(scans[name].frames))
            copies = _find_copies(f"{small} in {large}", scans[small], scans[large], parts)[0]
            among[small] = (*among.get(small, ()), replace(copies, against=large))
    return among


def _check_memorization(
    sets: AuditSets, mine: Scan, parts: KeptParts, by_image: ByImage
) -> tuple[Duplicates | None, Memorization | None]:
    wild = sets.wild
    if wild is None:
        return None, None
    other = _scan_images(wild, parts)
    duplicates, neighbors = _neighbors(wild.name, wild, mine, other, parts, by_image)
    if len(wild) < 2:
        return duplicates, None
    if sets.unseen is not None:
        unseen = _find_copies(f"{sets.unseen.name} in {wild.name}", _scan_images(sets.unseen, parts), other, parts)[1]
        return duplicates, memorization(neighbors, other.frames, unseen)
    with progress_bar("measuring the training images", min(len(wild), SAMPLE)) as bar:
        return duplicates, memorization(neighbors, other.frames, advance=bar.advance)


def _run_classifier(
    judge: OpenClassifier, shown: Sequence[ImageSet], models: Models, parts: KeptParts
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the features of each of the sets `shown`, none if it has none, and the logits for the first."""
    network, feed = judge.load(models.device), Feed(models.batch_size, models.device)
    feature_parts = parts.child("features", judge.weights_hash, judge.preparation, judge.flip)

    def see(images: ImageSet, advance: Advance) -> Arrays:
        if not (isinstance(network, Classifier) and network.has_features):
            return {"logits": judge.logits(network, images, feed, advance)}
        features, logits = embed_images(network, judge.name, images, judge.prepare, feed, advance)
        return {"features": features, "logits": logits}

    outputs = []
    for images in shown:
        outputs.append(compute_in_parts(images, models.batch_size, feature_parts, see, f"classifier, {images.name}"))
        if "features" not in outputs[0]:
            return [], outputs[0]["logits"]
    return [arrays["features"] for arrays in outputs], outputs[0]["logits"]


def _run_clip(
    folder: Path, sets: AuditSets, shown: Sequence[ImageSet], models: Models, parts: KeptParts, by_image: ByImage
) -> tuple[FeatureSpace, Judgment, ClipScore]:
    clip = load_clip(folder, models.device)
    features = [embed_in_parts(clip, folder, images, models.batch_size, parts) for images in shown]
    classes = embed_classes(clip, sets.templates, [c.prompt for c in sets.labels.classes])
    real = None
    if sets.real is not None:
        real = agreement(features[1] @ classes.T, sets.real.labels, sets.real.styles).share
    judgment = _judgment("zero-shot CLIP", clip.logit_scale * features[0] @ classes.T, sets, real, by_image)
    return _feature_space("CLIP embeddings", sets, features), judgment, _clip_score(clip, sets, features, classes)


def _judgment(judge: str, logits: np.ndarray, sets: AuditSets, real: float | None, by_image: ByImage) -> Judgment:
    labels, taken_for = sets.dataset.labels, logits.argmax(axis=1).tolist()
    by_image[PROBABILITY + judge] = confidence(logits, labels).tolist()
    by_image[TAKEN_FOR + judge] = [sets.labels.label_names[label] for label in taken_for]
    worst = least_agreeing(logits, labels, WORST)
    agreed = agreement(logits, labels, sets.dataset.styles)
    return Judgment(judge, agreed, real, tuple((i, taken_for[i]) for i in worst))


def _clip_score(clip: Clip, sets: AuditSets, features: Sequence[np.ndarray], classes: np.ndarray) -> ClipScore:
    prompt_score = None
    if sets.prompts:
        place = {prompt: i for i, prompt in enumerate(dict.fromkeys(sets.prompts))}
        prompt_score = _mean_cosine(features[0], embed_texts(clip, list(place))[[place[p] for p in sets.prompts]])
    labels = sets.dataset.labels
    of_class = {k: _mean_cosine(features[0][labels == k], classes[[k]]) for k in np.unique(labels).tolist()}
    real = None if sets.real is None else _mean_cosine(features[1], classes[sets.real.labels])
    return ClipScore(prompt_score, _mean_cosine(features[0], classes[labels]), real, of_class)


def _mean_cosine(images: np.ndarray, texts: np.ndarray) -> float:
    """Times 100; rows of unit length."""
    return 100 * float((images * texts).sum(axis=1).mean())


def _feature_space(name: str, sets: AuditSets, features: Sequence[np.ndarray]) -> FeatureSpace:
    """Measures over `features` of the dataset and, where there are real images, of those."""
    mine = features[0]
    if sets.real is None:
        diversity = _diversity(common_counts(sets.dataset.labels), (sets.dataset,), features)
        return FeatureSpace(name, mine.shape[1], None, None, None, diversity, "")
    labels = sets.dataset.labels, sets.real.labels
    diversity = _diversity(common_counts(*labels), (sets.dataset, sets.real), features)
    first_half, second_half = (features[1][half] for half in halves(sets.real.labels))
    if min(len(mine), len(first_half), len(second_half)) <= NEIGHBORS:
        note = f"Fewer than {2 * NEIGHBORS + 2} images on a side are too few to compare distributions."
        return FeatureSpace(name, mine.shape[1], None, None, None, diversity, note)
    least, note = min(len(mine), len(first_half)), ""
    if least < 2 * mine.shape[1]:
        note = (
            f"FID is too high where images are few: {least:,} for {mine.shape[1]:,} features. "
            "Compare it at equal numbers alone; KID has no such bias."
        )
    # as many of both against the same half: of fewer images, FID is higher
    samples = mine[fair_order(sets.dataset)[:least]], first_half[np.linspace(0, len(first_half) - 1, least).astype(int)]
    like_floor, floor = (fidelity(sample, second_half) for sample in samples)
    return FeatureSpace(name, mine.shape[1], fidelity(mine, features[1]), like_floor, floor, diversity, note)


def _diversity(
    counts: dict[int, int], sets: Sequence[ImageSet], features: Sequence[np.ndarray]
) -> tuple[ClassDiversity, ...]:
    """By class, over as many generated as real images."""
    counts = {label: n for label, n in counts.items() if n > 1}
    by_set = []
    for images, rows in zip(sets, features, strict=True):
        order = fair_order(images)
        chosen = order[first_of_each_class(images.labels[order], counts)]
        by_set.append(by_class(rows[chosen], images.labels[chosen], counts))
    mine, real = by_set[0], by_set[1] if len(by_set) > 1 else dict.fromkeys(counts, (None, None))
    return tuple(ClassDiversity(label, n, *mine[label], *real[label]) for label, n in counts.items())
