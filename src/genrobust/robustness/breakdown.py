"""Breakdowns: by class, by confused classes and by group of images, and the images that every classifier misses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from genrobust.core import ClassReport, Confusion, MissedImage
from genrobust.robustness.grouping import FEW_GROUPS
from genrobust.robustness.sets import AnsweredSet

MISSED_OF_SET = 8  # images of each test set that are kept to be looked at
CONFUSED_PAIRS = 10  # of each arm
MATRIX_CLASSES = 100  # up to which an arm's answers are kept as a matrix
DECIMALS = 4  # of percents by class


def accuracy_by_group(answered: AnsweredSet, arms: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Return top-1 in percent of each group of images, by arm; nothing for a set of more than `FEW_GROUPS`, or none."""
    groups = answered.groups
    if groups is None or len(groups.names) > FEW_GROUPS:
        return {}
    sizes = np.bincount(groups.of_image)
    right = [np.bincount(groups.of_image, weights=by_seed.mean(axis=0)) for by_seed in answered.values["top1"]]
    return {arm: tuple((100 * counts / sizes).tolist()) for arm, counts in zip(arms, right, strict=True)}


def gains_without_groups(
    sets: Sequence[AnsweredSet], groups: Mapping[str, Sequence[str]], arms: Sequence[str], references: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """Return what arms gain over their references, in points of the mean of `sets`, without one group of images.

    Args:
        groups: By test set, the group of each image; for test sets whose groups are known.

    Returns:
        The lowest and the highest gain, by arm and group. A set without other images is not in that mean.
    """
    whole: list[np.ndarray] = []  # the top-1 of each set, [A]
    without: list[dict[str, np.ndarray | None]] = []  # the same by the group that is left out, None if all are of it
    for test in sets:
        right = 100 * test.values["top1"].mean(axis=1)  # [A, M]
        total, count = right.sum(axis=1), right.shape[1]
        whole.append(total / count)
        if (named := groups.get(test.name)) is None:
            without.append({})
            continue
        names, of_image = np.unique(np.asarray(named)[test.members], return_inverse=True)
        of_groups = np.stack([np.bincount(of_image, weights=of_arm) for of_arm in right], axis=1)  # [G, A]
        left = count - np.bincount(of_image)
        without.append(
            {name: (total - out) / n if n else None for name, out, n in zip(names, of_groups, left, strict=True)}
        )
    top1: dict[str, dict[str, float]] = {}
    for group in sorted({name for of_set in without for name in of_set}, key=str):
        left = [of_set.get(group, all_of_set) for of_set, all_of_set in zip(without, whole, strict=True)]
        if kept := [accuracies for accuracies in left if accuracies is not None]:
            top1[str(group)] = dict(zip(arms, np.mean(kept, axis=0).tolist(), strict=True))
    extremes: dict[str, dict[str, float]] = {}
    for arm in arms:
        gains = sorted((of[arm] - of[references[arm]], group) for group, of in top1.items())
        if gains and references[arm] != arm:
            extremes[arm] = {group: gain for gain, group in (gains[0], gains[-1])}
    return extremes


def missed_images(answered: AnsweredSet) -> tuple[list[MissedImage], int]:
    """Return images of a test set that every classifier gets wrong, and how many there are.

    The first `MISSED_OF_SET` are returned: those that most classifiers take for the same class.
    """
    said = answered.mistaken_for.reshape(-1, len(answered.labels))
    wrong = np.flatnonzero((said >= 0).all(axis=0))
    answers = [np.unique(column, return_counts=True) for column in said[:, wrong].T]
    share = np.array([counts.max() for _, counts in answers]) / len(said)
    indices = np.flatnonzero(answered.members)[wrong].tolist()
    images = [
        MissedImage(
            test_set=answered.name,
            index=indices[i],
            key=answered.keys[indices[i]],
            label=int(answered.labels[wrong[i]]),
            said=int(answers[i][0][answers[i][1].argmax()]),
            share=float(share[i]),
        )
        for i in np.argsort(-share, kind="stable")[:MISSED_OF_SET].tolist()
    ]
    return images, len(wrong)


def class_sizes(sets: Sequence[AnsweredSet]) -> tuple[int, ...]:
    """Return how many images each class has in all of `sets`."""
    labels = np.concatenate([answered.labels for answered in sets])
    return tuple(np.bincount(labels, minlength=sets[0].all_classes).tolist())


def class_reports(sets: Sequence[AnsweredSet], arms: Mapping[str, Sequence[int]]) -> dict[str, ClassReport]:
    """Return how each of `arms` answers by class, over all images of `sets` and all seeds.

    Args:
        arms: By name, the indices of an arm, or of those of a group.
    """
    classes = sets[0].all_classes
    labels = np.concatenate([answered.labels for answered in sets])
    mistaken_for = np.concatenate([answered.mistaken_for for answered in sets], axis=2)
    sizes, reports = np.array(class_sizes(sets)), {}
    for name, indices in arms.items():
        said = mistaken_for[list(indices)].reshape(-1, len(labels))
        cells, counts = np.unique(classes * labels + np.where(said < 0, labels, said), return_counts=True)
        label, guess = np.divmod(cells, classes)
        answers = counts / len(said)  # of the mean classifier
        right = np.bincount(label, weights=answers * (label == guess), minlength=classes)
        predicted = np.bincount(guess, weights=answers, minlength=classes)
        wrong = np.flatnonzero(label != guess)
        most = wrong[np.argsort(-counts[wrong], kind="stable")[:CONFUSED_PAIRS]]
        pairs = [((int(label[i]), int(guess[i])), float(answers[i])) for i in most]
        matrix = None
        if classes <= MATRIX_CLASSES:
            dense = np.bincount(cells, weights=answers, minlength=classes**2).reshape(classes, classes)
            matrix = tuple(map(tuple, dense.tolist()))
        reports[name] = ClassReport(
            precision=_percents(right, predicted),
            recall=_percents(right, sizes),
            confused=tuple(Confusion(*pair, n / int(sizes[pair[0]]), n) for pair, n in pairs),
            matrix=matrix,
        )
    return reports


def _percents(right: np.ndarray, of: np.ndarray) -> tuple[float | None, ...]:
    return tuple(round(100 * r / n, DECIMALS) if n else None for r, n in zip(right.tolist(), of.tolist(), strict=True))
