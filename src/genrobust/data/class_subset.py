"""Take some of the classes of a study, as if there were no others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from genrobust.core import ImageSet, LabelSpace, StudyData, Subset, UserError, digest, perhaps
from genrobust.data.class_lists import KEY, choose_classes
from genrobust.data.classes import FolderClasses
from genrobust.recipe import ClassSample


def of_classes(
    data: StudyData, classes: FolderClasses, wanted: ClassSample | Sequence[str] | str
) -> tuple[StudyData, FolderClasses]:
    """Return `data` and `classes` with the wanted classes only, in their order. "all" changes nothing.

    A shifted test or validation set without an image of these classes is left out, with a notice.
    """
    if wanted == "all":
        return data, classes
    kept = _find_labels(data.labels, classes, wanted)
    new_labels = np.full(len(data.labels), -1)
    new_labels[kept] = np.arange(len(kept))
    learned = {key: relabeled(images, new_labels) for key, images in data.learned.items()}
    if data.shifted_val is not None and not len(learned["shifted_val"]):
        data = data.noted(f"{KEY}: no image of these classes in {data.shifted_val.name}, left out")
        data = replace(data, shifted_val=None)
        del learned["shifted_val"]
    tests = {name: relabeled(images, new_labels) for name, images in data.tests.items()}
    labels = LabelSpace(tuple(data.labels.classes[label] for label in kept), data.labels.shared_prompts)
    required = {"train": learned["train"]}
    if data.clean in tests:
        required[data.clean] = tests[data.clean]
    if len(data.val):
        required["val"] = learned["val"]
    for name, images in required.items():
        if not len(images):
            raise UserError(f"{KEY}: {name} has no image of these classes: choose others")
    empty = [name for name, images in tests.items() if not len(images)]
    if empty:
        data = data.noted(f"{KEY}: no image of these classes in {', '.join(empty)}, left out")
    left = {name: images for name, images in tests.items() if len(images)}
    data = replace(data.replaced(learned), labels=labels, tests={**left})
    return data, _restrict(classes, kept, labels)


def _find_labels(labels: LabelSpace, classes: FolderClasses, wanted: ClassSample | Sequence[str] | str) -> list[int]:
    """Return the labels of the wanted classes, ascending."""

    def find(name: str) -> str:
        label = classes.match(name)
        if label is None:
            raise UserError(f"there is no class {name!r}{perhaps(classes.near(name))}")
        return labels.ids[label]

    chosen = set(choose_classes(wanted, labels.ids, find))
    return [label for label, id in enumerate(labels.ids) if id in chosen]


def _restrict(classes: FolderClasses, kept: Sequence[int], labels: LabelSpace) -> FolderClasses:
    """Return the classes at `kept` with their new `labels`. All names of the others become unused."""
    unused = set(classes.unused)
    for label, folder in enumerate(classes.folders):
        if label not in kept:
            unused |= {folder, *classes.labels.classes[label].spellings}
    folders = tuple(classes.folders[label] for label in kept)
    return replace(classes, labels=labels, folders=folders, unused=frozenset(unused))


def relabeled(images: ImageSet, new_labels: np.ndarray) -> Subset:
    """Return the images of some classes with new labels.

    Args:
        new_labels: New label by old label, int [K]; -1 for classes that are left out.
    """
    chosen = Subset(images, np.flatnonzero(new_labels[images.labels] >= 0))
    chosen.labels = new_labels[chosen.labels]
    if chosen.accepted is not None:
        accepted = []
        for old_labels in chosen.accepted:
            mapped = new_labels[list(old_labels)]
            accepted.append(tuple(mapped[mapped >= 0].tolist()))
        chosen.accepted = tuple(accepted)
    chosen.fingerprint = digest([chosen.fingerprint, new_labels.tolist()])
    return chosen
