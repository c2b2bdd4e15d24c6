"""Estimates accuracies on images without labels, and measures how far such estimates are off on labeled shifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from genrobust.core import EstimatorErrors, Predictions, Unlabeled, UnlabeledSet
from genrobust.robustness.answers import labels_inside, own_classes, select_inside
from genrobust.robustness.estimator import ESTIMATORS, Estimator, LabeledProbabilities
from genrobust.robustness.study_answers import StudyPredictions

# Images of a set that estimates use. The time of an assignment grows with the square of their number.
MOST_IMAGES = 2000
# Labeled shifts that a correction needs. With one, the line for it would go through the clean accuracies alone.
LEAST_SHIFTS = 2
# Points by which accuracies of two arms differ at least, if it counts whether estimates order them in the same way.
CLEAR = 1.0
# The logarithm of the temperature is searched between minus this and this.
LOG_TEMPERATURE = 4.0
# By set and arm.
Values = Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class EstimatedStudy:
    """The predictions that estimates are made from.

    Attributes:
        predictions: By arm, seed and set. All arms have the same seeds and sets.
        references: The arm that each arm is compared with.
        clean: The labeled set that is not shifted.
        shifts: The labeled shifts.
        unlabeled: The sets without labels.
        accuracies: The measured accuracies on labeled sets in percent, by set and arm.
    """

    predictions: StudyPredictions
    references: Mapping[str, str]
    clean: str
    shifts: Sequence[str]
    unlabeled: Sequence[str]
    accuracies: Values

    @property
    def arms(self) -> list[str]:
        """The arms, in order."""
        return list(self.references)

    @property
    def seeds(self) -> list[int]:
        """The seeds, in order."""
        return list(dict.fromkeys(seed for _, seed, _ in self.predictions))

    @property
    def is_corrected(self) -> bool:
        """Whether there are enough labeled shifts to correct estimates."""
        return len(self.shifts) >= LEAST_SHIFTS


def estimate_accuracies(study: EstimatedStudy) -> Unlabeled:
    """Estimate the accuracy of each arm on each set without labels, with every estimator.

    Probabilities are scaled by a temperature that is fitted on the clean images. With two labeled shifts or more, each
    estimate is corrected by a line that is fitted to the measured accuracies of all arms on the labeled sets. The error
    of an estimator on a labeled shift is measured with a line through the other sets.
    """
    members = {name: member() for name, member in ESTIMATORS.members().items()}
    raw = _estimate_all(study, members)
    estimates: dict[str, dict[tuple[str, str], float]] = {}
    errors: list[EstimatorErrors] = []
    for name, estimator in members.items():
        errors.append(_measure_errors(study, name, estimator, raw[name]))
        estimates[name] = {}
        for test in study.unlabeled:
            for arm in study.arms:
                estimates[name][test, arm] = _corrected(study, raw[name], test, arm)
    sets = tuple(_describe_set(study, test, estimates) for test in study.unlabeled)
    return Unlabeled(sets, tuple(errors))


def _estimate_all(study: EstimatedStudy, members: Mapping[str, Estimator]) -> dict[str, dict[tuple[str, str], float]]:
    """Return the uncorrected estimates in percent, mean over seeds: by estimator, then by set and arm."""
    found: dict[str, dict[tuple[str, str], float]] = {name: {} for name in members}
    sets = [study.clean, *study.shifts, *study.unlabeled]
    for arm in study.arms:
        by_seed = [_estimate_checkpoint(study, arm, seed, sets, members) for seed in study.seeds]
        for name in members:
            for test in sets:
                found[name][test, arm] = 100 * float(np.mean([values[name, test] for values in by_seed]))
    return found


def _estimate_checkpoint(
    study: EstimatedStudy, arm: str, seed: int, sets: Sequence[str], members: Mapping[str, Estimator]
) -> dict[tuple[str, str], float]:
    """Return the uncorrected estimates for one checkpoint, by estimator and set."""
    clean = study.predictions[arm, seed, study.clean]
    temperature = fit_temperature(_sample(clean))
    found: dict[tuple[str, str], float] = {}
    for test in sets:
        predictions = study.predictions[arm, seed, test]
        if test in study.unlabeled:
            classes = np.arange(len(predictions.classes))
        else:
            classes = own_classes(predictions)
        known = _probabilities(_sample(clean), classes, temperature)
        seen = _softmax(_sample(predictions), classes, temperature)
        for name, estimator in members.items():
            found[name, test] = estimator.estimate(known, seen)
    return found


def _sample(predictions: Predictions) -> Predictions:
    """Return the predictions for at most `MOST_IMAGES` images, evenly spaced over the set."""
    count = len(predictions.labels)
    if count <= MOST_IMAGES:
        return predictions
    places = np.linspace(0, count - 1, MOST_IMAGES).round().astype(np.int64)
    accepted = predictions.accepted
    return Predictions(
        test_set=predictions.test_set,
        logits=np.asarray(predictions.logits)[places],
        labels=predictions.labels[places],
        keys=tuple(predictions.keys[place] for place in places.tolist()),
        classes=predictions.classes,
        protocol=predictions.protocol,
        accepted=None if accepted is None else tuple(accepted[place] for place in places.tolist()),
    )


def _softmax(predictions: Predictions, classes: np.ndarray, temperature: float) -> np.ndarray:
    """Return the probabilities over `classes`: float64 [N, C]."""
    logits = np.asarray(predictions.logits)[:, classes].astype(np.float64)
    return np.asarray(softmax(logits / temperature, axis=1))


def _probabilities(predictions: Predictions, classes: np.ndarray, temperature: float) -> LabeledProbabilities:
    """Return the probabilities over `classes` for the images of these classes."""
    inside = select_inside(predictions, classes)
    labels = np.searchsorted(classes, labels_inside(predictions, classes))
    return LabeledProbabilities(_softmax(predictions, classes, temperature)[inside], labels)


def confidences(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Return the most likely class of each image, int64 [N], and its probability, float64 [N]."""
    probabilities = _softmax(predictions, np.arange(len(predictions.classes)), temperature=1)
    return probabilities.argmax(axis=1), probabilities.max(axis=1)


def fit_temperature(predictions: Predictions) -> float:
    """Fit the temperature that minimizes the negative log-likelihood of the labels (Guo et al., 2017)."""
    logits = np.asarray(predictions.logits).astype(np.float64)
    images = np.arange(len(logits))

    def loss(log_temperature: float) -> float:
        log_probabilities = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(log_probabilities[images, predictions.labels].mean())

    found = minimize_scalar(loss, bounds=(-LOG_TEMPERATURE, LOG_TEMPERATURE), method="bounded")
    return float(np.exp(found.x))


def _corrected(study: EstimatedStudy, raw: Values, test: str, arm: str) -> float:
    """Return the estimate for `arm` on `test` in percent, corrected by a line through the other labeled sets."""
    value = raw[test, arm]
    if study.is_corrected:
        others = [other for other in (study.clean, *study.shifts) if other != test]
        points = [(raw[other, each], study.accuracies[other, each]) for other in others for each in study.arms]
        estimated, measured = np.array(points).T
        slope, intercept = _fit_line(estimated, measured)
        value = intercept + slope * value
    return float(np.clip(value, 0, 100))


def _fit_line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return slope and intercept of least squares. If all `x` are equal, the slope is 0."""
    deviations = x - x.mean()
    squares = float(deviations @ deviations)
    slope = 0.0 if squares == 0 else float(deviations @ y) / squares
    return slope, float(y.mean() - slope * x.mean())


def _measure_errors(study: EstimatedStudy, name: str, estimator: Estimator, raw: Values) -> EstimatorErrors:
    """Measure the errors of an estimator on the labeled shifts, each left out in turn."""
    errors: list[float] = []
    pairs = right_signs = 0
    for test in study.shifts:
        estimates = {arm: _corrected(study, raw, test, arm) for arm in study.arms}
        errors += [abs(estimates[arm] - study.accuracies[test, arm]) for arm in study.arms]
        for arm, reference in study.references.items():
            measured = study.accuracies[test, arm] - study.accuracies[test, reference]
            if abs(measured) >= CLEAR:
                pairs += 1
                right_signs += int(np.sign(estimates[arm] - estimates[reference]) == np.sign(measured))
    return EstimatorErrors(
        name=name,
        title=estimator.title,
        note=estimator.note,
        shifts=len(study.shifts),
        corrected=study.is_corrected,
        mean=float(np.mean(errors)) if errors else None,
        largest=max(errors, default=None),
        pairs=pairs,
        right_signs=right_signs,
    )


def _describe_set(study: EstimatedStudy, test: str, estimates: Mapping[str, Values]) -> UnlabeledSet:
    """Return the estimates and predictions of all arms on a set without labels."""
    predicted: dict[str, list[np.ndarray]] = {}
    shares: dict[str, tuple[float, ...]] = {}
    for arm in study.arms:
        of_arm = [study.predictions[arm, seed, test] for seed in study.seeds]
        predicted[arm] = [np.asarray(predictions.logits).argmax(axis=1) for predictions in of_arm]
        classes = len(of_arm[0].classes)
        counts = np.array([np.bincount(answers, minlength=classes) for answers in predicted[arm]])
        shares[arm] = tuple((counts.mean(axis=0) / counts[0].sum()).tolist())
    differing: dict[str, float] = {}
    for arm, reference in study.references.items():
        if reference != arm:
            differing[arm] = float((predicted[arm][0] != predicted[reference][0]).mean())
    by_arm = {name: {arm: values[test, arm] for arm in study.arms} for name, values in estimates.items()}
    size = len(predicted[study.arms[0]][0])
    return UnlabeledSet(name=test, size=size, estimates=by_arm, class_shares=shares, differing=differing)
