"""The answers of a whole study: for every test set, the values that metrics need of each image, by arm and seed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product

import numpy as np

from genrobust.core import BaselineModel, Line, Predictions, UserError
from genrobust.robustness.accuracy import spread_certain
from genrobust.robustness.answers import OfImages, labels_inside, own_classes, read_answers, select_inside
from genrobust.robustness.image_groups import Groups, group_weights
from genrobust.robustness.measured import Measured
from genrobust.robustness.resampling import resampled_means

# Networks choose how to resize images, as they choose mean and standard deviation. Their scores may be compared.
_INTERPOLATION = re.compile(r"\((bicubic|bilinear|each network's interpolation), antialiased\)")
# The name of `Answers.mistaken_for` among the values of metrics.
MISTAKEN_FOR = "mistaken_for"
# By arm, seed and test set.
StudyPredictions = Mapping[tuple[str, int, str], Predictions]


@dataclass(frozen=True, slots=True)
class AnsweredSet:
    """The values that metrics need of a test set's M images that have a right label among its C classes.

    Attributes:
        classes: int64 [C], of `all_classes` in the study.
        labels: int64 [M].
        members: bool [N], the M images among the N images of the test set.
        values: The values of each metric, by its name: [A, S, M] or [A, S, M, P] over arms and seeds. May contain
            `MISTAKEN_FOR`.
        protocol: How images were prepared, in words.
        groups: The groups of the images, or `pictures`. None if they have neither.
        pictures: The pictures that the images were made from. None if each image is its own picture.
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
        if self.pictures is None:
            return len(self.labels)
        return len(self.pictures.names)

    @property
    def mistaken_for(self) -> np.ndarray:
        """The label of the wrongly predicted class, -1 if the prediction is right: int [A, S, M]."""
        columns = self.values[MISTAKEN_FOR]
        return np.where(columns < 0, -1, self.classes[columns])


@dataclass(frozen=True)
class StudyAnswers:
    """The answers and baselines that metrics are measured from, and the metrics measured so far.

    Attributes:
        sets: By name, the clean set, the shifts, and the clean set restricted to the classes of shifts.
        paired: Maps each test set to the clean set over the same classes.
        lines: The baseline line of each shift that has one.
        rng: The generator that main metrics draw from in turn. Other metrics have their own.
        measured: By metric and test set.
        gaps: Why a metric was not measured, by metric and test set.
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
        """Draw replicates of the clean accuracy that each shift with a line is paired with, by shift: [B, A, S].

        They are in percent and resample the clean images, the same for all shifts. There is at least one line.
        """
        shifts = [test for test in self.paired if test in self.lines]
        clean = [self.sets[self.paired[shift]] for shift in shifts]
        arms, seeds = clean[0].values["top1"].shape[:2]
        members = np.stack([answered.members for answered in clean], axis=1)
        right = np.zeros((len(shifts), arms, seeds, len(members)), dtype=bool)
        for right_of_set, answered in zip(right, clean, strict=True):
            right_of_set[:, :, answered.members] = answered.values["top1"]
        images = members.sum(axis=0)[:, None, None]
        percents = 100 * right.sum(axis=3) / images
        grouped = [answered.groups is not None for answered in clean]
        draws = self._draw_accuracies(right, members, grouped, self.rng)
        draws = spread_certain(draws, percents, images, self.rng)

        def over_images(rng: np.random.Generator, index: int) -> np.ndarray:
            return self._draw_accuracies(right[[index]], members[:, [index]], [False], rng)[:, 0]

        for i, answered in enumerate(clean):
            if answered.groups is not None:
                mean = np.nanmean(draws[:, i], axis=0)
                draws[:, i] = answered.groups.widen(mean, draws[:, i], partial(over_images, index=i))
        return {shift: draws[:, i] for i, shift in enumerate(shifts)}

    def _draw_accuracies(
        self, right: np.ndarray, members: np.ndarray, grouped: list[bool], rng: np.random.Generator
    ) -> np.ndarray:
        """Draw replicates of accuracies on K sets of clean images, in percent: [B, K, A, S].

        One resample of the images serves all sets that are `grouped`, and another one all others: within one group
        nothing would vary. NaN if a resample has none of a set's few images.

        Args:
            right: bool [K, A, S, N].
            members: bool [N, K], the images of each set.
        """
        drawn = np.empty((self.bootstrap, *right.shape[:3]))
        clean = next(self.sets[test] for test, pair in self.paired.items() if test == pair)
        for by_group in sorted(set(grouped), reverse=True):
            chosen = [i for i, is_grouped in enumerate(grouped) if is_grouped == by_group]
            columns = right[chosen].reshape(-1, len(members)).T
            groups = clean.groups if by_group else None
            means = resampled_means(columns, members[:, chosen], self.bootstrap, rng, groups)
            drawn[:, chosen] = 100 * means.reshape(self.bootstrap, len(chosen), *right.shape[1:3])
        return drawn

    def draw_baselines(self) -> dict[str, np.ndarray]:
        """Draw the weight of each baseline model in each resample, the same for all shifts: by name, [B].

        If architectures are known, they are resampled too. A model of unknown architecture then counts as the only one
        of its architecture.
        """
        architectures = {b.model: b.architecture for b in self.baselines if b.test_set in self.lines}
        models = sorted(architectures)
        if not models:
            return {}
        count = len(models)
        weights = self.rng.multinomial(count, np.full(count, 1 / count), size=self.bootstrap)
        if any(architectures.values()):
            families = Groups.of([architectures[model] or model for model in models], np.ones(count, dtype=bool))
            if families is not None:
                weights = weights * group_weights(families.names, self.bootstrap)[:, families.of_image]
        return dict(zip(models, weights.T, strict=True))


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
    """Compute the values that metrics need of every test set, and of the clean set over the classes of each shift.

    Predictions are loaded one at a time and their logits read once, so `predictions` may read them from a disk.

    Args:
        tests: The test sets, the clean one first.
        of_images: The function that computes the values of images, by metric.

    Returns:
        The sets by name, and the name of the clean set that each is paired with.

    Raises:
        GenrobustError: A logit is NaN, or the highest of an image infinite.
        UserError: A set shares no class with the clean set; predictions are for another set than their key says, or for
            other images, labels, order or protocol than another checkpoint.
    """
    arms, seeds = arms_and_seeds(predictions, tests)
    clean = tests[0]
    # Keep all facts about the images and no logits, so that no file of logits stays mapped.
    no_logits = np.empty((0, 0))
    images = {}
    for test in tests:
        images[test] = replace(predictions[arms[0], seeds[0], test], logits=no_logits, test_set=test)
    classes = {test: own_classes(images_of_set) for test, images_of_set in images.items()}
    _require_comparable_classes(images, classes, clean)
    # Shifts with the same classes share one clean set over these classes.
    clean_names: dict[bytes, str] = {}
    clean_sets: dict[str, np.ndarray] = {}
    paired: dict[str, str] = {}
    for test in tests:
        key = classes[test].tobytes()
        if key not in clean_names:
            clean_names[key] = clean if test == clean else f"{clean} on the classes of {test}"
            clean_sets[clean_names[key]] = classes[test]
        paired[test] = clean_names[key]
    checkpoints = _Checkpoints(predictions, arms, seeds)
    on_clean = checkpoints.answer(images[clean], clean_sets, of_images)
    # The clean sets over fewer classes come last.
    sets = {clean: on_clean.pop(clean)}
    for test in tests[1:]:
        sets |= checkpoints.answer(images[test], {test: classes[test]}, of_images)
    return sets | on_clean, paired


def _require_comparable_classes(
    images: Mapping[str, Predictions], classes: Mapping[str, np.ndarray], clean: str
) -> None:
    for test, images_of_set in images.items():
        if images_of_set.classes != images[clean].classes:
            raise UserError(f"{test!r} and {clean!r} are predicted over different classes: evaluate both again")
        if not select_inside(images[clean], classes[test]).any():
            raise UserError(f"no image of the clean set {clean!r} has a class of {test!r}: nothing to compare with")


@dataclass(frozen=True, slots=True)
class _Checkpoints:
    """The predictions of all arms and seeds."""

    predictions: StudyPredictions
    arms: Sequence[str]
    seeds: Sequence[int]

    def answer(
        self, images: Predictions, subsets: Mapping[str, np.ndarray], of_images: Mapping[str, OfImages]
    ) -> dict[str, AnsweredSet]:
        """Return the answers on one test set, over each of the classes in `subsets`, by name."""
        test = images.test_set
        of_subsets = [(classes, of_images) for classes in subsets.values()]
        values: list[dict[str, np.ndarray]] = [{} for _ in subsets]
        protocols = {images.protocol}
        for (a, arm), (s, seed) in product(enumerate(self.arms), enumerate(self.seeds)):
            predicted = self.predictions[arm, seed, test]
            _require_same_images(predicted, images, _where(arm, seed, test))
            protocols.add(predicted.protocol)
            for stored, computed in zip(values, read_answers(predicted, of_subsets), strict=True):
                for metric, of_checkpoint in computed.items():
                    if metric not in stored:
                        shape = (len(self.arms), len(self.seeds), *of_checkpoint.shape)
                        stored[metric] = np.zeros(shape, of_checkpoint.dtype)
                    stored[metric][a, s] = of_checkpoint
        if len(protocols) == 1:
            protocol = images.protocol
        else:
            protocol = comparable(images.protocol)
        sets = {}
        for (name, classes), stored in zip(subsets.items(), values, strict=True):
            sets[name] = AnsweredSet(
                name=name,
                classes=classes,
                all_classes=len(images.classes),
                labels=labels_inside(images, classes),
                members=select_inside(images, classes),
                values=stored,
                protocol=protocol,
                keys=images.keys,
            )
        return sets


def _where(arm: str, seed: int, test: str) -> str:
    return f"arm {arm!r}, seed {seed}, test set {test!r}"


def comparable(protocol: str) -> str:
    """Return a protocol in the words that all networks share whose scores may be compared."""
    return _INTERPOLATION.sub("(each network's interpolation, antialiased)", protocol)


def _require_same_images(predicted: Predictions, images: Predictions, where: str) -> None:
    """Raise UserError unless `predicted` is for the same images, labels and protocol as the first checkpoint."""
    if predicted.test_set != images.test_set:
        raise UserError(f"{where}: these are predictions on {predicted.test_set!r}; were two files swapped?")
    has_same_labels = np.array_equal(predicted.labels, images.labels)
    if predicted.keys != images.keys or not has_same_labels or predicted.accepted != images.accepted:
        raise UserError(f"{where}: not the images of the other checkpoints; evaluate all on the same set")
    has_same_protocol = comparable(predicted.protocol) == comparable(images.protocol)
    if not has_same_protocol or predicted.classes != images.classes:
        raise UserError(
            f"{where}: prepared as {predicted.protocol!r} over {len(predicted.classes)} classes, others as "
            f"{images.protocol!r} over {len(images.classes)}; accuracies compare under one protocol alone"
        )
