"""Takes some of the classes of a study, as if there were no others."""

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
    """Return `data` and `classes` with some of the classes alone, in their order; "all" changes nothing.

    A shifted test set without an image of them is left out, with a notice.

    Raises:
        UserError: A name is no class, a class is named twice, there are not so many, or a set has no image of them.
    """
    if wanted == "all":
        return data, classes
    ids = data.labels.ids

    def find(name: str) -> str:
        if (label := classes.match(name)) is None:
            raise UserError(f"there is no class {name!r}{perhaps(classes.near(name))}")
        return ids[label]

    chosen = {*choose_classes(wanted, ids, find)}
    kept = [label for label, id in enumerate(ids) if id in chosen]
    numbers = np.full(len(ids), -1)
    numbers[kept] = np.arange(len(kept))
    sets = {key: relabeled(images, numbers) for key, images in data.learned.items()}
    tests = {name: relabeled(images, numbers) for name, images in data.tests.items()}
    for name in ("train", data.clean):
        if not len(tests.get(name, sets["train"])):
            raise UserError(f"{KEY}: {name} has no image of these classes: choose others")
    without = [name for name, images in tests.items() if not len(images)]
    if without:
        data = data.noted(f"{KEY}: no image of these classes in {', '.join(without)}, left out")
    labels = LabelSpace(tuple(data.labels.classes[label] for label in kept), data.labels.shared_prompts)
    if len(data.val) and not len(sets["val"]):
        raise UserError(f"{KEY}: val has no image of these classes: choose others")
    left_out = [label for label in range(len(ids)) if label not in kept]
    unused = {text for k in left_out for text in (classes.folders[k], *data.labels.classes[k].spellings)}
    folders = tuple(classes.folders[label] for label in kept)
    data = replace(data.replaced(sets), labels=labels, tests={name: t for name, t in tests.items() if len(t)})
    return data, replace(classes, labels=labels, folders=folders, unused=classes.unused | unused)


def relabeled(images: ImageSet, numbers: np.ndarray) -> Subset:
    """Return the images of some classes with new labels, `numbers` [K] by old one, -1 for classes that are left out."""
    chosen = Subset(images, np.flatnonzero(numbers[images.labels] >= 0))
    chosen.labels = numbers[chosen.labels]
    if chosen.accepted is not None:
        chosen.accepted = tuple(tuple(n for n in numbers[list(old)].tolist() if n >= 0) for old in chosen.accepted)
    chosen.fingerprint = digest([chosen.fingerprint, numbers.tolist()])
    return chosen
