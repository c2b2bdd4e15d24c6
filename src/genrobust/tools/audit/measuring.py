"""The audit of a dataset: every measure that the given sets and models allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genrobust.classifiers import (
    Feed,
    OpenClassifier,
    compute_in_parts,
    embed_classes,
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
    cores,
    fair_order,
    progress_bar,
)
from genrobust.data import (
    DISTANCE,
    NEAR,
    NEAREST,
    PROBABILITY,
    TAKEN_FOR,
    USED,
    Neighbors,
    ShardDataset,
    SourceEmbeddings,
    agreement,
    by_class,
    common_counts,
    confidence,
    first_of_each_class,
    frame,
    halves,
    least_agreeing,
    making,
    nearest,
    qualities,
)
from genrobust.study import AuditSets
from genrobust.tools.audit.duplicates import ITSELF, duplicates, memorization
from genrobust.tools.audit.results import Audit, ClassDiversity, Duplicates, Judgment, Memorization

WORST = 24  # images that disagree most with their label, kept to be looked at
OF_REAL, OF_TRAINING = "the real images", "the generator's training images"
HALF = "other half of the real"


@dataclass(frozen=True, slots=True)
class Models:
    """The judges of an audit: a classifier trained on real images and the folder of a CLIP, or None."""

    classifier: OpenClassifier | None
    clip: Path | None
    device: torch.device
    batch_size: int


@dataclass
class Measuring:
    """The audit of `sets.dataset`. Each image is read once, and once more for each model that is shown it.

    `parts` keep what long work has found until they are removed: a killed audit goes on from there.
    """

    sets: AuditSets
    models: Models
    parts: KeptParts
    by_image: dict[str, Sequence[Any]] = field(default_factory=dict)  # that of the `Audit`, filled on the way

    def run(self) -> Audit:
        """Measure everything.

        Raises:
            UserError: An empty set, an image that cannot be read, or a classifier that lacks one of the classes.
        """
        sets, dataset = self.sets, self.sets.dataset
        check_not_empty(dataset)
        shards = dataset if isinstance(dataset, ShardDataset) else None
        judge, judgments = self.models.classifier, list[Judgment]()
        columns = [] if judge is None else judge.columns(sets.labels)  # which is refused before the long work
        copies, remembered = self._copies()
        if judge is not None:
            feed = Feed(self.models.batch_size, self.models.device)
            logits = logits_in_parts(judge, dataset, feed, self.parts)[:, columns]
            judgments.append(self._judgment("the classifier", logits))
        audit = Audit(
            n=len(dataset),
            near=NEAR,
            by_image=self.by_image,
            per_class=dict(enumerate(np.bincount(dataset.labels, minlength=len(sets.labels)).tolist())),
            making=making(shards.metadata(USED)) if shards else None,
            copies=tuple(copies),
            memorization=remembered,
            judgments=tuple(judgments),
            qualities=(),
            yardstick=(),
            diversity=(),
            left_out=tuple(self._left_out()),
        )
        return audit if self.models.clip is None else self._with_clip(audit, self.models.clip)

    def _copies(self) -> tuple[list[Duplicates], Memorization | None]:
        """Return the copies of each set, and whether the generator remembers what it was trained on."""
        sets, copies, remembered = self.sets, [], None
        searched = [*sets.tests.items(), (OF_REAL, sets.real), (OF_TRAINING, sets.wild)]
        if len(sets.dataset) > 1:
            searched.append((ITSELF, sets.dataset))
        for name, others in searched:
            if others is not None:
                neighbors = self._neighbors(sets.dataset, others, name)
                self.by_image[DISTANCE + name] = neighbors.distance.tolist()
                self.by_image[NEAREST + name] = [others.keys[i] for i in neighbors.index]
                copies.append(duplicates(name, len(others), neighbors, name in sets.tests))
                if name == OF_TRAINING and sets.unseen is not None:
                    remembered = memorization(neighbors, self._neighbors(sets.unseen, others, "unseen images"))
        return copies, remembered

    def _neighbors(self, images: ImageSet, others: ImageSet, name: str) -> Neighbors:
        frames, itself = [self._frames(images), self._frames(others)], others is images
        with progress_bar(f"looking for copies, {name}", len(images)) as bar:
            parts = self.parts.child("neighbors", images.fingerprint, others.fingerprint, itself)
            return nearest(*frames, itself=itself, parts=parts, advance=bar.advance)

    def _frames(self, images: ImageSet) -> np.ndarray:
        """Return the frames of `images`, uint8 [N, 72, 64]."""
        return self._of_dataset if images is self.sets.dataset else self._read(images)

    @cached_property
    def _of_dataset(self) -> np.ndarray:
        return self._read(self.sets.dataset)

    def _read(self, images: ImageSet) -> np.ndarray:
        with ThreadPoolExecutor(min(8, cores())) as pool:

            def read(part: ImageSet, advance: Advance) -> Arrays:
                frames = []
                for of_image in pool.map(lambda i: frame(part.image(i)), range(len(part))):
                    frames.append(of_image)
                    advance(1)
                return {"frames": np.stack(frames)}

            return compute_in_parts(images, 1, self.parts.child("frames"), read, f"reading {images.name}")["frames"]

    def _with_clip(self, audit: Audit, folder: Path) -> Audit:
        """Return `audit` with what a CLIP measures."""
        sets, clip = self.sets, load_clip(folder, self.models.device)
        classes = embed_classes(clip, sets.templates, [c.prompt for c in sets.labels.classes])

        def embed(images: ImageSet) -> np.ndarray:
            return embed_in_parts(clip, folder, images, self.models.batch_size, self.parts)

        embeddings = embed(sets.dataset)
        judgment = self._judgment("zero-shot CLIP", clip.logit_scale * embeddings @ classes.T)
        mine = _source(sets.dataset, embeddings)
        real = None if sets.real is None else _source(sets.real, embed(sets.real))
        measured, yardstick = _qualities(mine, real, classes)
        return replace(
            audit,
            judgments=(*audit.judgments, judgment),
            qualities=measured,
            yardstick=yardstick,
            diversity=tuple(_diversity(mine, real)),
        )

    def _judgment(self, judge: str, logits: np.ndarray) -> Judgment:
        """Return what the logits [N, K] of a judge say, and note it by image."""
        images, taken_for = self.sets.dataset, logits.argmax(axis=1).tolist()
        self.by_image[PROBABILITY + judge] = confidence(logits, images.labels).tolist()
        self.by_image[TAKEN_FOR + judge] = [self.sets.labels.label_names[label] for label in taken_for]
        worst = least_agreeing(logits, images.labels, WORST)
        return Judgment(judge, agreement(logits, images.labels, images.styles), tuple((i, taken_for[i]) for i in worst))

    def _left_out(self) -> Iterator[str]:
        """Yield a sentence for each missing measure, with the option that adds it."""
        sets, models = self.sets, self.models
        if sets.real is None and not sets.is_real:
            yield "Nothing was compared with real images: give them with --against DIR or RECIPE."
        if not sets.tests:
            yield "No test set was searched for leaks: give each with --test NAME=DIR, or --against RECIPE."
        if not (sets.is_real or (sets.wild and sets.unseen)):
            yield (
                "Memorization was not measured: give the generator's own training images with --trained-on DIR, and "
                "images of the same kind that it has never seen with --unseen DIR."
            )
        if models.classifier is None:
            yield "No classifier looked at the images: give one of real images with --classifier MODEL."
        if models.clip is None:
            yield "No FID, diversity, CLIP score and zero-shot labels: give a CLIP with --clip FOLDER."


def _source(images: ImageSet, embeddings: np.ndarray) -> SourceEmbeddings:
    order = fair_order(images)
    return SourceEmbeddings(embeddings[order], images.labels[order], len(images))


def _qualities(
    mine: SourceEmbeddings, real: SourceEmbeddings | None, classes: np.ndarray
) -> tuple[tuple[SourceQuality, ...], tuple[SourceQuality, ...]]:
    """Return the qualities of both sets, and those of as many of each against one half of the real images."""
    if real is None:
        return qualities({REAL: mine}, classes), ()
    first, second = (SourceEmbeddings(real.embeddings[i], real.labels[i], len(i)) for i in halves(real.labels))
    return (
        qualities({"dataset": mine, REAL: real}, classes),
        qualities({"dataset": mine, HALF: first, REAL: second}, classes)[:2],
    )


def _diversity(mine: SourceEmbeddings, real: SourceEmbeddings | None) -> Iterator[ClassDiversity]:
    """Yield that of each class, over as many images of both sets: the least diverse first."""
    sources = [mine] if real is None else [mine, real]
    counts = {label: n for label, n in common_counts(*(of.labels for of in sources)).items() if n > 1}
    rows = [first_of_each_class(of.labels, counts) for of in sources]
    scores = [by_class(of.embeddings[i], of.labels[i], counts) for of, i in zip(sources, rows, strict=True)]
    for label in sorted(counts, key=lambda label: scores[0][label][1] / counts[label]):
        vendi = [of_class[label][1] for of_class in scores]
        yield ClassDiversity(label, counts[label], vendi[0], vendi[1] if real else None)
