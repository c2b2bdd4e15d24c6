"""The steps that predict: the answers of classifiers and of the zero-shot CLIP on the test sets of a study."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from genrobust.classifiers import (
    ADAPTED_TO,
    OpenClassifier,
    PredictedBy,
    SavedPredictions,
    are_saved,
    open_checkpoint,
    open_zero_shot,
    predict_sets,
    prediction_folder,
    prediction_inputs,
    require_clip,
    weights_hash,
)
from genrobust.core import ZERO_SHOT, ImageSet, digest
from genrobust.recipe import ZeroShotConfig
from genrobust.store import Artifact, fetch_artifacts
from genrobust.study.estimates import Cost
from genrobust.study.executors.work import Item, MakeItems
from genrobust.study.steps.classifier import ClassifierStep
from genrobust.study.steps.step import Step


@dataclass(frozen=True, eq=False, repr=False)
class PredictStep(Step):
    """Predicts all test sets with one classifier, and with its adapted variant if there is one, in one item.

    Each set is an artifact of its own.
    """

    title = "evaluating"
    stage = "evaluate"
    counted = "test images"
    # Each image is decoded once for all classifiers of a worker.
    together = True
    in_batches = True

    @property
    def folder(self) -> Path:
        return self.context.out / "predictions"

    @property
    @abstractmethod
    def predicted_by(self) -> list[PredictedBy]:
        """The identities of its predictions: of the classifier, and of its adapted variant if there is one."""

    @property
    @abstractmethod
    def name(self) -> str: ...

    @property
    def sets(self) -> dict[str, ImageSet]:
        """The sets of images that it predicts, by name."""
        return self.context.test_sets

    @abstractmethod
    def hash_weights(self) -> str: ...

    @abstractmethod
    def open_classifiers(self) -> dict[PredictedBy, OpenClassifier]: ...

    def folders(self, by: PredictedBy) -> dict[str, Path]:
        """Return the folders of the predictions, made or not, by the name of the set."""
        labels = self.context.data.labels
        folders: dict[str, Path] = {}
        for test, images in self.sets.items():
            folders[test] = prediction_folder(self.folder, by, prediction_inputs(by, test, images, labels))
        return folders

    def artifacts(self) -> list[Path]:
        return [folder for by in self.predicted_by for folder in self.folders(by).values()]

    def items(self) -> list[Item]:
        sets = self.sets
        weights = self.hash_weights()
        total = left = 0
        for by in self.predicted_by:
            for test, folder in self.folders(by).items():
                total += len(sets[test])
                left += 0 if are_saved(folder, weights) else len(sets[test])
        return [Item(key=self.name, name=f"the predictions of {self.name}", size=left, total=total)]

    def fetch(self) -> None:
        # The predictions of all steps of a batch are in one folder.
        fetch_artifacts(self.folder)

    @classmethod
    def load_batch(cls, steps: Sequence[Any]) -> MakeItems:
        def predict(keys: Sequence[tuple[int, str]]) -> None:
            _predict([steps[number] for number, _ in keys])

        return predict


@dataclass(frozen=True, eq=False, repr=False)
class Predict(PredictStep):
    """Predicts with a classifier of the study.

    Attributes:
        of_arm: Whether the classifier is an arm's. Then it also predicts the images without labels, and may be adapted.
        only: The name of the images without labels that it predicts, and nothing else; "" for all sets.
    """

    row = "every classifier"

    classifier: ClassifierStep
    of_arm: bool
    only: str = ""

    @property
    def key(self) -> object:
        return self.classifier.folder, self.only

    @property
    def sets(self) -> dict[str, ImageSet]:
        unlabeled = self.context.data.unlabeled
        if self.only:
            return {self.only: unlabeled[self.only]}
        if self.of_arm:
            return self.context.test_sets | unlabeled
        return self.context.test_sets

    def is_made(self) -> bool:
        """Return whether all predictions are made."""
        return self.classifier.is_made() and not any(item.size for item in self.items())

    @property
    def name(self) -> str:
        return self.classifier.run.name

    def needs(self) -> tuple[Step, ...]:
        return (self.classifier,)

    @cached_property
    def is_adapted(self) -> bool:
        """Whether its adapted variant predicts, too: the recipe asks for it, and the network has batch norms."""
        is_wanted = self.of_arm and self.context.recipe.evaluate.adapt is not None
        return is_wanted and self.classifier.size.batch_norms > 0

    @property
    def predicted_by(self) -> list[PredictedBy]:
        evaluate = self.context.recipe.evaluate
        name = self.classifier.folder.name
        word, _, _ = name.rpartition("-")
        by = [PredictedBy(word, digest([name, evaluate.protocol]))]
        if self.is_adapted:
            adapted = digest([name, evaluate.protocol, evaluate.adapt, ADAPTED_TO])
            by.append(PredictedBy(f"{word} adapted", adapted))
        return by

    def hash_weights(self) -> str:
        return weights_hash(self.classifier.folder)

    def open_classifiers(self) -> dict[PredictedBy, OpenClassifier]:
        folder = self.classifier.folder
        Artifact(folder).fetch()
        opened = open_checkpoint(folder, self.context.recipe.evaluate)
        return {by: replace(opened, adapted=number > 0) for number, by in enumerate(self.predicted_by)}

    def cost(self, item: Item) -> Cost:
        evaluate = self.context.recipe.evaluate
        trained_on = self.classifier.settings.image_size
        scale = ((evaluate.image_size or trained_on) / trained_on) ** 2
        # Each worker makes corrupted images itself.
        is_corrupted = not {*self.context.data.derived}.isdisjoint(self.context.test_sets)
        amount = scale * self.classifier.size.multiply_adds * (1 + evaluate.flip)
        return Cost(amount, kind="corrupted" if is_corrupted else "")


@dataclass(frozen=True, eq=False, repr=False)
class PredictZeroShot(PredictStep):
    """Predicts with the zero-shot CLIP of the recipe."""

    row = name = ZERO_SHOT

    config: ZeroShotConfig

    @property
    def key(self) -> object:
        return ZERO_SHOT

    @cached_property
    def _opened(self) -> OpenClassifier:
        recipe = self.context.recipe
        clip = require_clip(self.config.clip, "zero_shot.clip")
        classes = self.context.data.labels.label_names
        return open_zero_shot(clip, self.context.class_texts, classes, recipe.evaluate, recipe.train.image_size)

    @property
    def predicted_by(self) -> list[PredictedBy]:
        return [PredictedBy("zero-shot", digest([self._opened.weights_hash, self._opened.preparation]))]

    def hash_weights(self) -> str:
        return self._opened.weights_hash

    def open_classifiers(self) -> dict[PredictedBy, OpenClassifier]:
        return dict.fromkeys(self.predicted_by, self._opened)

    def cost(self, item: Item) -> Cost:
        return Cost(1, of=f"CLIP {self.config.clip}")


def open_predictions(steps: Sequence[PredictStep], adapted: bool = False) -> list[SavedPredictions[str]]:
    """Return the predictions of `steps` on every test set; missing ones are made in this process.

    With `adapted`, adapted variants predict where they exist.
    """
    made = _predict(steps)
    variant = -1 if adapted else 0
    return [made[step.predicted_by[variant]] for step in steps]


def _predict(steps: Sequence[PredictStep]) -> Mapping[PredictedBy, SavedPredictions[str]]:
    """Make the missing predictions of `steps`, and return all of them."""
    by_sets: dict[tuple[str, ...], list[PredictStep]] = {}
    for step in steps:
        by_sets.setdefault(tuple(step.sets), []).append(step)
    made: dict[PredictedBy, SavedPredictions[str]] = {}
    for same_sets in by_sets.values():
        made |= _predict_same_sets(same_sets)
    return made


def _predict_same_sets(steps: Sequence[PredictStep]) -> Mapping[PredictedBy, SavedPredictions[str]]:
    """Make the missing predictions of steps that predict the same sets."""
    opened: dict[PredictedBy, OpenClassifier] = {}
    for step in steps:
        opened |= step.open_classifiers()
    context = steps[0].context
    recipe = context.recipe
    return predict_sets(
        steps[0].folder,
        opened,
        steps[0].sets,
        context.data.labels,
        recipe.evaluate.batch_size,
        recipe.device,
        recipe.threads,
    )
