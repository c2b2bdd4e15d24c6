"""Measure a dataset for an audit, with the sets and models that the user gives."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.classifiers import (
    Feed,
    OpenClassifier,
    compute_in_parts,
    embed_ensembles,
    embed_in_parts,
    load_clip,
    logits_in_parts,
)
from genrobust.core import (
    REAL,
    ImageSet,
    SourceQuality,
    UserError,
    check_not_empty,
    fair_order,
    progress_bar,
    reading_pool,
)
from genrobust.data import (
    DISTANCE,
    NEAREST,
    PROBABILITY,
    TAKEN_FOR,
    Agreement,
    SourceEmbeddings,
    agreement,
    by_class,
    common_counts,
    confidence,
    first_of_each_class,
    halves,
    least_agreeing,
    qualities,
)
from genrobust.leaks import NEAR, nearest, thumbnail
from genrobust.store import Advance, Arrays, KeptParts
from genrobust.study import AuditSets, Census
from genrobust.tools.audit.copies import ITSELF, Duplicates, duplicates

WORST = 24  # images with the most confident wrong predictions to show
OF_REAL, OF_TRAINING = "the real images", "the generator's training images"
HALF = "other half of the real"


@dataclass(frozen=True, slots=True)
class Judgment:
    """How often the model called `judge` predicts the label of an image.

    `worst` are pairs of an image and the predicted class, the most confident mistakes first.
    """

    judge: str
    agreement: Agreement
    worst: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ClassDiversity:
    """The Vendi score of `n` images of a class, and of as many real images if there are any."""

    label: int
    n: int
    vendi: float
    real_vendi: float | None


@dataclass(slots=True)
class Audit:
    """All measures of an audit of `n` images.

    Attributes:
        per_class: Number of images of each class.
        by_image: Columns with a value per image, [N]: for each judge the probability of the label and the predicted
            class, for each set the distance and the key of the nearest image.
        qualities: Qualities of the dataset and of the real images.
        yardstick: Qualities of a part of the dataset, and of one half of the real images, both compared with the other
            half at equal numbers, because FID depends on the number of images.
        left_out: Reasons for measures that are empty, with the option that adds them.
    """

    n: int
    per_class: list[int]
    by_image: dict[str, Sequence[Any]] = field(default_factory=dict)
    copies: list[Duplicates] = field(default_factory=list)
    judgments: list[Judgment] = field(default_factory=list)
    qualities: tuple[SourceQuality, ...] = ()
    yardstick: tuple[SourceQuality, ...] = ()
    diversity: list[ClassDiversity] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def of_tests(self) -> list[Duplicates]:
        return [found for found in self.copies if found.is_test]

    @property
    def leaks(self) -> dict[str, int]:
        """Number of copies by test set, for test sets with copies."""
        return {found.against: found.copies for found in self.of_tests if found.copies}

    def leaks_in(self, places: Collection[int]) -> dict[str, int]:
        """Count the copies by test set, as `leaks` does, among the images at these `places`."""
        counts = {}
        for test in self.leaks:
            distances = self.by_image[DISTANCE + test]
            counts[test] = sum(distances[place] < NEAR for place in places)
        return {test: copies for test, copies in counts.items() if copies}


@dataclass
class Measuring:
    """The audit of `sets.dataset`. Each image is read once, and once more for each model.

    Attributes:
        classifier: A classifier trained on real images, if any.
        clip: The folder of a CLIP, if any.
        parts: Partial results, from which a killed audit resumes.
        census: The thumbnails that a study keeps, if the audit is about a recipe.
    """

    sets: AuditSets
    classifier: OpenClassifier | None
    clip: Path | None
    feed: Feed
    parts: KeptParts
    census: Census | None = None

    def run(self) -> Audit:
        dataset = self.sets.dataset
        check_not_empty(dataset)
        # Check the classes of the classifier before the work.
        if self.classifier is None:
            columns = []
        else:
            columns = self.classifier.columns(self.sets.labels)
        per_class = np.bincount(dataset.labels, minlength=len(self.sets.labels)).tolist()
        audit = Audit(len(dataset), per_class, left_out=list(self._left_out()))
        self._find_copies(audit)
        if self.classifier is not None:
            logits = logits_in_parts(self.classifier, dataset, self.feed, self.parts)
            self._judge(audit, "the classifier", logits[:, columns])
        if self.clip is not None:
            self._embed(audit, self.clip)
        return audit

    def _find_copies(self, audit: Audit) -> None:
        """Add the copies of the images in each set, and in the dataset itself."""
        sets, dataset = self.sets, self.sets.dataset
        for name in (ITSELF, OF_REAL, OF_TRAINING):
            if name in sets.tests:
                raise UserError(f"--test {name}: an audit calls another set so: choose another name")
        searched: dict[str, ImageSet] = dict(sets.tests)
        if sets.real is not None:
            searched[OF_REAL] = sets.real
        if sets.wild is not None:
            searched[OF_TRAINING] = sets.wild
        if len(dataset) > 1:
            searched[ITSELF] = dataset
        if not searched:
            return
        own = self._thumbnails(dataset)
        for name, others in searched.items():
            is_itself = others is dataset
            theirs = own if is_itself else self._thumbnails(others)
            parts = self.parts.child("neighbors", dataset.fingerprint, others.fingerprint, is_itself)
            with progress_bar(f"looking for copies, {name}", len(dataset)) as bar:
                neighbors = nearest(own, theirs, itself=is_itself, parts=parts, advance=bar.advance)
            audit.by_image[DISTANCE + name] = neighbors.distance.tolist()
            audit.by_image[NEAREST + name] = [others.keys[i] for i in neighbors.index]
            audit.copies.append(duplicates(name, len(others), neighbors, name in sets.tests))

    def _thumbnails(self, images: ImageSet) -> np.ndarray:
        if self.census is not None:
            return self.census.thumbnails(images)
        with reading_pool() as pool:

            def read(part: ImageSet, advance: Advance) -> Arrays:
                made = []
                for one in pool.map(lambda i: thumbnail(part.image(i)), range(len(part))):
                    made.append(one)
                    advance(1)
                return {"thumbnails": np.stack(made)}

            parts = self.parts.child("thumbnails")
            return compute_in_parts(images, 1, parts, read, f"reading {images.name}")["thumbnails"]

    def _embed(self, audit: Audit, folder: Path) -> None:
        """Add the measures of a CLIP in `folder`."""
        sets = self.sets
        clip = load_clip(folder, self.feed.device)
        classes = embed_ensembles(clip, sets.texts)

        def embed(images: ImageSet) -> np.ndarray:
            return embed_in_parts(clip, folder, images, self.feed.batch_size, self.parts)

        embeddings = embed(sets.dataset)
        self._judge(audit, "zero-shot CLIP", clip.logit_scale * embeddings @ classes.T)
        mine = _source(sets.dataset, embeddings)
        real = None if sets.real is None else _source(sets.real, embed(sets.real))
        audit.diversity = list(_diversity(mine, real))
        if real is None:
            alone = qualities({REAL: mine}, classes)
            audit.qualities = tuple(replace(of_dataset, source="dataset") for of_dataset in alone)
            return
        first_half, second_half = halves(real.labels)
        first = replace(real.at(first_half), made=len(first_half))
        second = replace(real.at(second_half), made=len(second_half))
        audit.qualities = qualities({"dataset": mine, REAL: real}, classes)
        audit.yardstick = qualities({"dataset": mine, HALF: first, REAL: second}, classes)[:2]

    def _judge(self, audit: Audit, judge: str, logits: np.ndarray) -> None:
        """Add the predictions of a judge, from its logits [N, K]."""
        images = self.sets.dataset
        predicted = logits.argmax(axis=1).tolist()
        audit.by_image[PROBABILITY + judge] = confidence(logits, images.labels).tolist()
        audit.by_image[TAKEN_FOR + judge] = [self.sets.labels.label_names[label] for label in predicted]
        worst = tuple((i, predicted[i]) for i in least_agreeing(logits, images.labels, WORST))
        audit.judgments.append(Judgment(judge, agreement(logits, images.labels, images.styles), worst))

    def _left_out(self) -> Iterator[str]:
        """Yield a sentence for each missing measure, with the option that adds it."""
        if self.sets.real is None and not self.sets.is_real:
            yield "Nothing was compared with real images: give them with --against DIR or RECIPE."
        if not self.sets.tests:
            yield "No test set was searched for leaks: give each with --test NAME=DIR, or --against RECIPE."
        if self.classifier is None:
            yield "No classifier looked at the images: give one of real images with --classifier MODEL."
        if self.clip is None:
            yield "No FID, diversity, CLIP score and zero-shot labels: give a CLIP with --clip FOLDER."


def _source(images: ImageSet, embeddings: np.ndarray) -> SourceEmbeddings:
    order = fair_order(images)
    return SourceEmbeddings(embeddings[order], images.labels[order], len(images))


def _diversity(mine: SourceEmbeddings, real: SourceEmbeddings | None) -> Iterator[ClassDiversity]:
    """Yield the diversity of each class, over as many images of both sets, the least diverse class first."""
    sources = [mine] if real is None else [mine, real]
    all_counts = common_counts(*(source.labels for source in sources))
    counts = {label: count for label, count in all_counts.items() if count > 1}
    vendi_scores: list[dict[int, float]] = []
    for source in sources:
        sample = source.at(first_of_each_class(source.labels, counts))
        scores = by_class(sample.embeddings, sample.labels, counts)
        vendi_scores.append({label: vendi for label, (_, vendi) in scores.items()})
    own_vendi = vendi_scores[0]
    for label in sorted(counts, key=lambda label: own_vendi[label] / counts[label]):
        real_vendi = None if real is None else vendi_scores[1][label]
        yield ClassDiversity(label, counts[label], own_vendi[label], real_vendi)
