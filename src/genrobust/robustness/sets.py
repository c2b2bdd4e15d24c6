"""The answers of a whole study: what metrics need to know of each image, by arm and seed, for every test set."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product

import numpy as np

from genrobust.core import BaselineModel, Line, Predictions, UserError
from genrobust.robustness.accuracy import spread_of_sure
from genrobust.robustness.answers import OfImages, inside, labels_inside, own_classes, read_answers
from genrobust.robustness.grouping import Groups, group_weights
from genrobust.robustness.resampling import Measured, resampled_means

# How a network resizes images is its own choice, as its mean and standard deviation are.
_INTERPOLATION = re.compile(r"\((bicubic|bilinear|each network's interpolation), antialiased\)")
MISTAKEN_FOR = "mistaken_for"  # the name of `Answers.mistaken_for` among the values of metrics
StudyPredictions = Mapping[tuple[str, int, str], Predictions]  # by arm, seed and test set


@dataclass(frozen=True, slots=True)
class AnsweredSet:
    """The facts that metrics need of the M images of a test set that have a right label among its C classes.

    Attributes:
        classes: int64 [C], of `all_classes` in the study.
        labels: int64 [M], and `members` bool [N] says which images of the test set these are.
        values: What each metric computed, by its name: [A, S, M] or [A, S, M, P] over arms and seeds; `MISTAKEN_FOR`
            among them where it was asked for.
        protocol: How images were prepared, in words.
        groups: The groups of the images, or `pictures`; None where they have neither.
        pictures: The pictures that the images were made from, None where each is one itself.
        keys: The names of the N images.
    """

    name: str
    classes: np.ndarray
    all_classes: int
    labels: np.ndarray
    members: np.ndarray
    values: dict[str, np.ndarray]
    protocol: str
    groups: Groups | None = None
    pictures: Groups | None = None
    keys: Sequence[str] = ()

    @property
    def size(self) -> int:
        """The number of the images, or of the pictures that they were made from."""
        return len(self.labels) if self.pictures is None else len(self.pictures.names)

    @property
    def mistaken_for(self) -> np.ndarray:
        """The label of the wrong class that each image is taken for, -1 where the guess is right: int [A, S, M]."""
        columns = self.values[MISTAKEN_FOR]
        return np.where(columns < 0, -1, self.classes[columns])


@dataclass(frozen=True)
class StudyAnswers:
    """All that metrics are measured from. `measured` and `gaps` hold, by metric and test set, what is known so far.

    Attributes:
        sets: By name, the clean set, the shifts, and the clean set restricted to the classes of shifts.
        paired: Maps each test set to the clean set over the same classes.
        lines: The baseline line of each shift that has one.
        rng: What main metrics draw from in turn; others have generators of their own.
    """

    sets: dict[str, AnsweredSet]
    paired: dict[str, str]
    lines: Mapping[str, Line]
    baselines: Sequence[BaselineModel]
    bootstrap: int
    rng: np.random.Generator
    measured: dict[tuple[str, str], Measured] = field(default_factory=dict)
    gaps: dict[str, dict[str, str]] = field(default_factory=dict)

    def draw_clean(self) -> dict[str, np.ndarray]:
        """Draw replicates of the clean accuracy beside each shift with a line, in percent: by shift, [B, A, S].

        They resample the images of the clean set, the same for all shifts. There is at least one line.
        """
        shifts = [test for test in self.paired if test in self.lines]
        clean = {shift: self.sets[self.paired[shift]] for shift in shifts}
        arms, seeds = next(iter(clean.values())).values["top1"].shape[:2]
        members = np.stack([answered.members for answered in clean.values()], axis=1)
        right = np.zeros((len(shifts), arms, seeds, len(members)), dtype=bool)
        for to, answered in zip(right, clean.values(), strict=True):
            to[:, :, answered.members] = answered.values["top1"]
        images = members.sum(axis=0)
        percents = 100 * right.sum(axis=3) / images[:, None, None]
        grouped = [answered.groups is not None for answered in clean.values()]
        drawn = self._replicates(right, members, grouped, self.rng)
        drawn = spread_of_sure(drawn, percents, images[:, None, None], self.rng)

        def over_images(rng: np.random.Generator, index: int) -> np.ndarray:
            return self._replicates(right[[index]], members[:, [index]], [False], rng)[:, 0]

        for i, groups in enumerate(answered.groups for answered in clean.values()):
            if groups is not None:
                point = np.nanmean(drawn[:, i], axis=0)
                drawn[:, i] = groups.spread(point, drawn[:, i], partial(over_images, index=i))
        return {shift: drawn[:, i] for i, shift in enumerate(shifts)}

    def draw_baselines(self) -> dict[str, np.ndarray]:
        """Draw how much each baseline model counts in each resample of these, the same for all shifts: by name, [B].

        Their architectures are resampled, too, where these are known. Beside others, a model of unknown architecture
        has one of its own.
        """
        kinds = {b.model: b.architecture for b in self.baselines if b.test_set in self.lines}
        if not (models := sorted(kinds)):
            return {}
        picks = self.rng.multinomial(len(models), np.full(len(models), 1 / len(models)), size=self.bootstrap)
        families = [kinds[m] or m for m in models] if any(kinds.values()) else None
        if (kind := Groups.of(families, np.ones(len(models), dtype=bool))) is not None:
            picks = picks * group_weights(kind.names, self.bootstrap)[:, kind.of_image]
        return dict(zip(models, picks.T, strict=True))

    def _replicates(
        self, right: np.ndarray, members: np.ndarray, grouped: list[bool], rng: np.random.Generator
    ) -> np.ndarray:
        """Replicates [B, C, A, S] of accuracies on C sets of clean images, `right` [C, A, S, N] and `members` [N, C].

        One resample of the images serves all sets that are `grouped`, and another one all others: within one group
        nothing would vary. NaN where a resample has none of a set's few images.
        """
        drawn = np.empty((self.bootstrap, *right.shape[:3]))
        clean = next(self.sets[test] for test, pair in self.paired.items() if test == pair)
        for by_group in sorted(set(grouped), reverse=True):
            chosen = [i for i, is_grouped in enumerate(grouped) if is_grouped == by_group]
            columns, groups = right[chosen].reshape(-1, len(members)).T, clean.groups if by_group else None
            means = resampled_means(columns, members[:, chosen], self.bootstrap, rng, groups)
            drawn[:, chosen] = 100 * means.reshape(self.bootstrap, len(chosen), *right.shape[1:3])
        return drawn


def arms_and_seeds(predictions: StudyPredictions, tests: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the arms in their order and the seeds, sorted.

    Raises:
        UserError: An arm has no predictions for one of the seeds on one of `tests`; names the first.
    """
    arms = tuple(dict.fromkeys(arm for arm, _, _ in predictions))
    seeds = tuple(sorted({seed for _, seed, _ in predictions}))
    for key in product(arms, seeds, tests):
        if key not in predictions:
            raise UserError(f"no predictions for {_where(*key)}: evaluate it, or leave out the set or the arm")
    return arms, seeds


def answer_sets(
    predictions: StudyPredictions,
    tests: Sequence[str],
    of_images: Mapping[str, OfImages],
) -> tuple[dict[str, AnsweredSet], dict[str, str]]:
    """Compute what metrics need of every test set, and of the clean set over the classes of each shift.

    Predictions are asked for one at a time and their logits read once, so `predictions` may read them from a disk.

    Args:
        tests: The test sets, the clean one first.
        of_images: What is computed of each image, by metric.

    Returns:
        The sets by name, and the name of the clean set that each is paired with.

    Raises:
        GenrobustError: A logit is NaN, or the highest of an image infinite.
        UserError: A set shares no class with the clean set; predictions are of another set than their key says, or of
            other images, labels, order or protocol than those of another checkpoint.
    """
    arms, seeds = arms_and_seeds(predictions, tests)
    clean = tests[0]
    # What is known of the images alone, so that no file of logits stays mapped.
    nothing = np.empty((0, 0))
    images = {t: replace(predictions[arms[0], seeds[0], t], logits=nothing, test_set=t) for t in tests}
    classes = {test: own_classes(predicted) for test, predicted in images.items()}
    for test, predicted in images.items():
        if predicted.classes != images[clean].classes:
            raise UserError(f"{test!r} and {clean!r} are predicted over different classes: evaluate both again")
        if not inside(images[clean], classes[test]).any():
            raise UserError(f"no image of the clean set {clean!r} has a class of {test!r}: nothing to compare with")
    name_of: dict[bytes, str] = {}  # of the clean set over these classes
    for test in tests:
        name_of.setdefault(classes[test].tobytes(), clean if test == clean else f"{clean} on the classes of {test}")
    paired = {test: name_of[classes[test].tobytes()] for test in tests}
    restricted = {name: np.frombuffer(key, dtype=np.int64) for key, name in name_of.items()}
    sets: dict[str, AnsweredSet] = {}
    for test in tests:
        over = restricted if test == clean else {test: classes[test]}
        answers = _answered_sets(predictions, arms, seeds, images[test], over, of_images)
        sets |= {name: answers[name] for name in sorted(answers, key=lambda name: name != test)}
    return dict(sorted(sets.items(), key=lambda item: item[0] not in tests)), paired


def _answered_sets(
    predictions: StudyPredictions,
    arms: Sequence[str],
    seeds: Sequence[int],
    images: Predictions,
    over: Mapping[str, np.ndarray],
    of_images: Mapping[str, OfImages],
) -> dict[str, AnsweredSet]:
    """The answers on one test set, over each of the classes in `over`."""
    test, subsets = images.test_set, [(classes, of_images) for classes in over.values()]
    values: dict[str, dict[str, np.ndarray]] = {name: {} for name in over}
    protocols = {images.protocol}
    for (a, arm), (s, seed) in product(enumerate(arms), enumerate(seeds)):
        predicted = predictions[arm, seed, test]
        _require_same_images(predicted, images, _where(arm, seed, test), test)
        protocols.add(predicted.protocol)
        for name, by_metric in zip(over, read_answers(predicted, subsets), strict=True):
            for metric, computed in by_metric.items():
                to = values[name].setdefault(metric, np.zeros((len(arms), len(seeds), *computed.shape), computed.dtype))
                to[a, s] = computed
    protocol = images.protocol if len(protocols) == 1 else comparable(images.protocol)
    sets = {}
    for name, classes in over.items():
        members = inside(images, classes)
        sets[name] = AnsweredSet(
            name=name,
            classes=classes,
            all_classes=len(images.classes),
            labels=labels_inside(images, classes),
            members=members,
            values=values[name],
            protocol=protocol,
            keys=images.keys,
        )
    return sets


def _where(arm: str, seed: int, test: str) -> str:
    return f"arm {arm!r}, seed {seed}, test set {test!r}"


def comparable(protocol: str) -> str:
    """Return a protocol in the words that all networks share whose scores may be compared."""
    return _INTERPOLATION.sub("(each network's interpolation, antialiased)", protocol)


def _require_same_images(given: Predictions, first: Predictions, where: str, test: str) -> None:
    if given.test_set != test:
        raise UserError(f"{where}: these are predictions on {given.test_set!r}; were two files swapped?")
    if given.keys != first.keys or not np.array_equal(given.labels, first.labels) or given.accepted != first.accepted:
        raise UserError(f"{where}: not the images of the other checkpoints; evaluate all on the same set")
    if (comparable(given.protocol), given.classes) != (comparable(first.protocol), first.classes):
        raise UserError(
            f"{where}: prepared as {given.protocol!r} over {len(given.classes)} classes, others as "
            f"{first.protocol!r} over {len(first.classes)}; accuracies compare under one protocol alone"
        )
