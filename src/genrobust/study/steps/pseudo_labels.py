"""Images without labels, with the labels that a classifier of the study predicts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from genrobust.core import ImageSet, digest
from genrobust.data import FoundImages
from genrobust.robustness import confidences
from genrobust.study.steps.images import ExistingImages
from genrobust.study.steps.predict import Predict, open_predictions
from genrobust.study.steps.step import Step

# Classes that a note lists.
MOST_CLASSES = 10


@dataclass(frozen=True, eq=False, repr=False)
class PseudoLabels(ExistingImages):
    """The images that `teacher` predicts, with its most likely classes as labels; the most confident ones come first.

    The predictions are an artifact already, so nothing else is saved.
    """

    name: str
    teacher: Predict

    @cached_property
    def identity(self) -> str:
        folders = [self.teacher.folders(by)[self.name].name for by in self.teacher.predicted_by]
        return digest(["pseudo-labels", *folders])

    @property
    def images(self) -> ImageSet:
        """The images without labels."""
        return self.context.data.unlabeled[self.name]

    @property
    def class_counts(self) -> np.ndarray:
        # Before the predictions are made, nobody knows how many images each class gets.
        classes = len(self.context.data.labels)
        return np.full(classes, -(-len(self.images) // classes))

    def needs(self) -> tuple[Step, ...]:
        return (self.teacher,)

    def is_made(self) -> bool:
        return self.teacher.is_made()

    def open_made(self) -> ImageSet:
        (saved,) = open_predictions([self.teacher])
        predictions = saved[self.name]
        labels, confidence = confidences(predictions)
        order = np.argsort(-confidence, kind="stable")
        keys = [predictions.keys[place] for place in order.tolist()]
        return FoundImages(self.images, keys, labels[order], self.name)

    def describe_found(self, images: ImageSet) -> str:
        """Describe how many images the teacher with the first seed predicts to be of each class."""
        if self.teacher.classifier.run.seed != self.context.recipe.seeds[0]:
            return ""
        names = self.context.data.labels.names
        counts = self.context.count_by_class(images)
        order = np.argsort(-counts, kind="stable")
        shares = ", ".join(f"{names[k]} {counts[k]:,}" for k in order[:MOST_CLASSES].tolist())
        more = ", ..." if len(order) > MOST_CLASSES else ""
        return f"{self.teacher.name} labels {len(images):,} images of {self.name}: {shares}{more}."
