"""Accuracy by class and by group of images, confused classes, and the images that every classifier gets wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter

import numpy as np

from genrobust.core import ClassReport, Confusion, MissedImage, Predictions
from genrobust.robustness.answers import own_classes, read_answers, select_inside
from genrobust.robustness.image_groups import FEW_GROUPS
from genrobust.robustness.study_answers import AnsweredSet

# Images per test set that a report shows.
MISSED_OF_SET = 8
# Pairs per arm.
CONFUSED_PAIRS = 10
# An arm's predictions are kept as a matrix for at most this many classes.
MATRIX_CLASSES = 100
# Decimals of percents by class.
DECIMALS = 4


def accuracy_by_group(answered: AnsweredSet, arms: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Return top-1 in percent of each group of images, by arm. Empty without groups, or with over `FEW_GROUPS`."""
    groups = answered.groups
    if groups is None or len(groups.names) > FEW_GROUPS:
        return {}
    sizes = np.bincount(groups.of_image)
    accuracies = {}
    for arm, right in zip(arms, answered.values["top1"], strict=True):
        right_of_group = np.bincount(groups.of_image, weights=right.mean(axis=0))
        accuracies[arm] = tuple((100 * right_of_group / sizes).tolist())
    return accuracies


def gains_without_groups(
    sets: Sequence[AnsweredSet], groups: Mapping[str, Sequence[str]], arms: Sequence[str], references: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """Return the gains of arms over their references if one group of images is left out, in points of the mean of sets.

    Args:
        sets: The test sets in the mean.
        groups: By test set, the group of each of its images. May lack test sets.

    Returns:
        By arm and group, the lowest and the highest gain. The mean skips a test set if all its images are left out.
    """
    of_sets = [_top1_without_groups(test, groups.get(test.name)) for test in sets]
    names = set(chain.from_iterable(of_set.without for of_set in of_sets))
    top1: dict[str, np.ndarray] = {}
    for name in sorted(names, key=str):
        accuracies = [of_set.without.get(name, of_set.whole) for of_set in of_sets]
        known = [accuracy for accuracy in accuracies if accuracy is not None]
        if known:
            top1[str(name)] = np.mean(known, axis=0)
    extremes: dict[str, dict[str, float]] = {}
    for a, arm in enumerate(arms):
        r = arms.index(references[arm])
        if top1 and r != a:
            gains = sorted((float(accuracies[a]) - float(accuracies[r]), name) for name, accuracies in top1.items())
            extremes[arm] = {name: gain for gain, name in (gains[0], gains[-1])}
    return extremes


@dataclass(frozen=True, slots=True)
class _Top1WithoutGroups:
    """Top-1 in percent of A arms on one test set, over all images and without one group.

    Attributes:
        whole: Over all images, [A].
        without: By the group that is left out, [A]; None if all images are in this group.
    """

    whole: np.ndarray
    without: dict[str, np.ndarray | None]


def _top1_without_groups(test: AnsweredSet, groups: Sequence[str] | None) -> _Top1WithoutGroups:
    right = 100 * test.values["top1"].mean(axis=1)  # [A, M]
    total = right.sum(axis=1)
    count = right.shape[1]
    without: dict[str, np.ndarray | None] = {}
    if groups is not None:
        names, of_image = np.unique(np.asarray(groups)[test.members], return_inverse=True)
        right_of_groups = np.stack([np.bincount(of_image, weights=right_of_arm) for right_of_arm in right], axis=1)
        others = count - np.bincount(of_image)
        for name, right_of_group, left in zip(names, right_of_groups, others, strict=True):
            without[name] = (total - right_of_group) / left if left else None
    return _Top1WithoutGroups(total / count, without)


def missed_images(answered: AnsweredSet) -> tuple[list[MissedImage], int]:
    """Return images of a test set that every classifier gets wrong, and the number of all such images.

    At most `MISSED_OF_SET` are returned, the ones on which most classifiers predict the same class first.
    """
    predicted = answered.mistaken_for.reshape(-1, len(answered.labels))
    missed = np.flatnonzero((predicted >= 0).all(axis=0))
    in_set = np.flatnonzero(answered.members)[missed]
    images = []
    for column, index in zip(missed.tolist(), in_set.tolist(), strict=True):
        labels, counts = np.unique(predicted[:, column], return_counts=True)
        image = MissedImage(
            test_set=answered.name,
            index=index,
            key=answered.keys[index],
            label=int(answered.labels[column]),
            said=int(labels[counts.argmax()]),
            share=float(counts.max() / len(predicted)),
        )
        images.append(image)
    images.sort(key=lambda image: -image.share)
    return images[:MISSED_OF_SET], len(missed)


def confident_mistakes(predictions: Predictions, most: int) -> list[MissedImage]:
    """Return the images of a test set that one classifier gets wrong, the most confident ones first, at most `most`.

    Their `share` is the probability of the predicted class among the classes of the test set.
    """
    classes = own_classes(predictions)
    values = {name: attrgetter(name) for name in ("mistaken_for", "confidence")}
    (answers,) = read_answers(predictions, [(classes, values)])
    in_set = np.flatnonzero(select_inside(predictions, classes))
    wrong = np.flatnonzero(answers["mistaken_for"] >= 0)
    order = np.argsort(-answers["confidence"][wrong], kind="stable")
    mistakes = []
    for place in wrong[order[:most]].tolist():
        index = int(in_set[place])
        mistake = MissedImage(
            test_set=predictions.test_set,
            index=index,
            key=predictions.keys[index],
            label=int(predictions.labels[index]),
            said=int(classes[answers["mistaken_for"][place]]),
            share=float(answers["confidence"][place]),
        )
        mistakes.append(mistake)
    return mistakes


def class_sizes(sets: Sequence[AnsweredSet]) -> tuple[int, ...]:
    """Return the number of images of each class in all of `sets`."""
    labels = np.concatenate([answered.labels for answered in sets])
    return tuple(np.bincount(labels, minlength=sets[0].all_classes).tolist())


def class_reports(sets: Sequence[AnsweredSet], arms: Mapping[str, Sequence[int]]) -> dict[str, ClassReport]:
    """Return the predictions of each arm or group by class, over all images of `sets` and all seeds.

    Args:
        arms: By the name of an arm or a group, the indices of its arms.
    """
    labels = np.concatenate([answered.labels for answered in sets])
    mistaken_for = np.concatenate([answered.mistaken_for for answered in sets], axis=2)
    sizes = np.array(class_sizes(sets))
    reports = {}
    for name, indices in arms.items():
        wrong = mistaken_for[list(indices)].reshape(-1, len(labels))
        predicted = np.where(wrong < 0, labels, wrong)
        reports[name] = _class_report(labels, predicted, sizes)
    return reports


def _class_report(labels: np.ndarray, predicted: np.ndarray, sizes: np.ndarray) -> ClassReport:
    """Return the report of T classifiers that predict the labels `predicted`, [T, N], for `labels`, [N]."""
    classes = len(sizes)
    cells, counts = np.unique(classes * labels + predicted, return_counts=True)
    label_of, predicted_of = np.divmod(cells, classes)
    images = counts / len(predicted)
    right_images = np.bincount(label_of, weights=images * (label_of == predicted_of), minlength=classes)
    predicted_images = np.bincount(predicted_of, weights=images, minlength=classes)
    wrong_cells = np.flatnonzero(label_of != predicted_of)
    largest = np.argsort(-counts[wrong_cells], kind="stable")[:CONFUSED_PAIRS]
    confused = []
    for cell in wrong_cells[largest].tolist():
        label = int(label_of[cell])
        share = float(images[cell]) / int(sizes[label])
        confused.append(Confusion(label, int(predicted_of[cell]), share, float(images[cell])))
    matrix = None
    if classes <= MATRIX_CLASSES:
        dense = np.bincount(cells, weights=images, minlength=classes**2).reshape(classes, classes)
        matrix = tuple(map(tuple, dense.tolist()))
    return ClassReport(
        precision=_percents(right_images, predicted_images),
        recall=_percents(right_images, sizes),
        confused=tuple(confused),
        matrix=matrix,
    )


def _percents(right: np.ndarray, images: np.ndarray) -> tuple[float | None, ...]:
    """Return 100 x `right` / `images` of each class; None for a class without images."""
    percents: list[float | None] = []
    for part, whole in zip(right.tolist(), images.tolist(), strict=True):
        percents.append(round(100 * part / whole, DECIMALS) if whole else None)
    return tuple(percents)
