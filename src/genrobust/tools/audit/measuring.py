"""The audit of a dataset: every measure that the given sets and models allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
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
    Advance,
    Arrays,
    ImageSet,
    KeptParts,
    SourceQuality,
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
from genrobust.leaks import frame, nearest
from genrobust.study import AuditSets
from genrobust.tools.audit.copies import ITSELF, Duplicates, duplicates

WORST = 24  # images that disagree most with their label, kept to be looked at
OF_REAL, OF_TRAINING = "the real images", "the generator's training images"
HALF = "other half of the real"


@dataclass(frozen=True, slots=True)
class Judgment:
    """How often the model called `judge` takes an image for its label.

    `worst` are (image, class taken for), surest mistakes first.
    """

    judge: str
    agreement: Agreement
    worst: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ClassDiversity:
    """The Vendi score of `n` images of a class, and of as many real ones (or None)."""

    label: int
    n: int
    vendi: float
    real_vendi: float | None


@dataclass(slots=True)
class Audit:
    """Everything that an audit measures of `n` images.

    What is empty has its reason in `left_out`, with the option that adds it. `by_image` has a value an image, [N], for
    each judge (the probability of the label, the class taken for) and each set (the distance and the key of the
    nearest). `qualities` are those of the dataset and of the real images; `yardstick` compares as many of the dataset,
    and one half of the real images, with the other half, since FID depends on the numbers.
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
        """The number of images that are copies, by test set, for the test sets that have any."""
        return {found.against: found.copies for found in self.of_tests if found.copies}


@dataclass
class Measuring:
    """The audit of `sets.dataset`. Each image is read once, and once more for each model that is shown it.

    `classifier`, trained on real images, and `clip`, the folder of one, judge the images, where they are there. `parts`
    keep what long work has found until they are removed: a killed audit goes on from there.
    """

    sets: AuditSets
    classifier: OpenClassifier | None
    clip: Path | None
    feed: Feed
    parts: KeptParts

    def run(self) -> Audit:
        """Measure everything.

        Raises:
            UserError: An empty set, an image that cannot be read, or a classifier that lacks one of the classes.
        """
        sets, dataset = self.sets, self.sets.dataset
        check_not_empty(dataset)
        columns = [] if self.classifier is None else self.classifier.columns(sets.labels)  # refused before the work
        sizes = np.bincount(dataset.labels, minlength=len(sets.labels)).tolist()
        audit = Audit(len(dataset), sizes, left_out=list(self._left_out()))
        self._find_copies(audit)
        if self.classifier is not None:
            logits = logits_in_parts(self.classifier, dataset, self.feed, self.parts)[:, columns]
            self._judge(audit, "the classifier", logits)
        if self.clip is not None:
            self._embed(audit, self.clip)
        return audit

    def _find_copies(self, audit: Audit) -> None:
        sets, dataset = self.sets, self.sets.dataset
        itself = dataset if len(dataset) > 1 else None
        searched = [*sets.tests.items(), (OF_REAL, sets.real), (OF_TRAINING, sets.wild), (ITSELF, itself)]
        for name, others in searched:
            if others is None:
                continue
            frames = [self._own_frames, self._own_frames if others is dataset else self._frames(others)]
            with progress_bar(f"looking for copies, {name}", len(dataset)) as bar:
                parts = self.parts.child("neighbors", dataset.fingerprint, others.fingerprint, others is dataset)
                neighbors = nearest(*frames, itself=others is dataset, parts=parts, advance=bar.advance)
            audit.by_image[DISTANCE + name] = neighbors.distance.tolist()
            audit.by_image[NEAREST + name] = [others.keys[i] for i in neighbors.index]
            audit.copies.append(duplicates(name, len(others), neighbors, name in sets.tests))

    @cached_property
    def _own_frames(self) -> np.ndarray:
        return self._frames(self.sets.dataset)

    def _frames(self, images: ImageSet) -> np.ndarray:
        """Return the frames of `images`, uint8 [N, 72, 64]."""
        with reading_pool() as pool:

            def read(part: ImageSet, advance: Advance) -> Arrays:
                frames = []
                for of_image in pool.map(lambda i: frame(part.image(i)), range(len(part))):
                    frames.append(of_image)
                    advance(1)
                return {"frames": np.stack(frames)}

            return compute_in_parts(images, 1, self.parts.child("frames"), read, f"reading {images.name}")["frames"]

    def _embed(self, audit: Audit, folder: Path) -> None:
        """Add what a CLIP measures."""
        sets, clip = self.sets, load_clip(folder, self.feed.device)
        classes = embed_ensembles(clip, sets.texts)

        def embed(images: ImageSet) -> np.ndarray:
            return embed_in_parts(clip, folder, images, self.feed.batch_size, self.parts)

        embeddings = embed(sets.dataset)
        self._judge(audit, "zero-shot CLIP", clip.logit_scale * embeddings @ classes.T)
        mine = _source(sets.dataset, embeddings)
        real = None if sets.real is None else _source(sets.real, embed(sets.real))
        audit.diversity = list(_diversity(mine, real))
        if real is None:
            audit.qualities = tuple(replace(of, source="dataset") for of in qualities({REAL: mine}, classes))
            return
        first, second = (SourceEmbeddings(real.embeddings[i], real.labels[i], len(i)) for i in halves(real.labels))
        audit.qualities = qualities({"dataset": mine, REAL: real}, classes)
        audit.yardstick = qualities({"dataset": mine, HALF: first, REAL: second}, classes)[:2]

    def _judge(self, audit: Audit, judge: str, logits: np.ndarray) -> None:
        """Add what the logits [N, K] of a judge say."""
        images, taken_for = self.sets.dataset, logits.argmax(axis=1).tolist()
        audit.by_image[PROBABILITY + judge] = confidence(logits, images.labels).tolist()
        audit.by_image[TAKEN_FOR + judge] = [self.sets.labels.label_names[label] for label in taken_for]
        worst = tuple((i, taken_for[i]) for i in least_agreeing(logits, images.labels, WORST))
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
    """Yield that of each class, over as many images of both sets: the least diverse first."""
    sources = [mine] if real is None else [mine, real]
    counts = {label: n for label, n in common_counts(*(of.labels for of in sources)).items() if n > 1}
    rows = [first_of_each_class(of.labels, counts) for of in sources]
    scores = [by_class(of.embeddings[i], of.labels[i], counts) for of, i in zip(sources, rows, strict=True)]
    for label in sorted(counts, key=lambda label: scores[0][label][1] / counts[label]):
        vendi = [of_class[label][1] for of_class in scores]
        yield ClassDiversity(label, counts[label], vendi[0], vendi[1] if real else None)
