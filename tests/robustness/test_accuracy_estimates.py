"""Estimates of accuracy without labels: where their assumptions hold they are right, and their errors are measured."""

from collections.abc import Mapping

import numpy as np
import pytest

from genrobust.core import Predictions
from genrobust.robustness import (
    ESTIMATORS,
    EstimatedStudy,
    LabeledProbabilities,
    confidences,
    estimate_accuracies,
)
from genrobust.robustness.accuracy_estimates import fit_temperature

CLASSES = 5
RNG = np.random.default_rng(0)
SHIFTS = ("near", "far", "farther")
# The size of logits on each set: the smaller, the less accurate, and a calibrated classifier knows it.
STRENGTHS = {"clean": 4.0, "near": 2.5, "far": 1.5, "farther": 1.0, "site": 2.0}
ARMS = {"weak": 0.8, "strong": 1.3}


def calibrated(strength: float, count: int, name: str, seed: int) -> Predictions:
    """Predictions whose labels are drawn from their own probabilities."""
    rng = np.random.default_rng(seed)
    logits = strength * rng.normal(size=(count, CLASSES))
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    labels = np.array([rng.choice(CLASSES, p=np.exp(row)) for row in logits])
    return Predictions(name, logits, labels)


def accuracy(predictions: Predictions) -> float:
    return float((predictions.logits.argmax(axis=1) == predictions.labels).mean())


def study(strengths: Mapping[str, float], shifts: tuple[str, ...] = SHIFTS, count: int = 1500) -> EstimatedStudy:
    predictions = {}
    for number, (test, strength) in enumerate(strengths.items()):
        for arm, factor in ARMS.items():
            predictions[arm, 0, test] = calibrated(factor * strength, count, test, number)
    labeled = ("clean", *shifts)
    accuracies = {(test, arm): 100 * accuracy(predictions[arm, 0, test]) for test in labeled for arm in ARMS}
    return EstimatedStudy(predictions, {"weak": "weak", "strong": "weak"}, "clean", shifts, ("site",), accuracies)


@pytest.mark.parametrize("name", ["confidence", "cot", "atc"])
def test_a_calibrated_classifier_is_estimated_rightly(name: str) -> None:
    clean, target = calibrated(4, 2000, "clean", 1), calibrated(4, 2000, "site", 2)
    known = LabeledProbabilities(np.exp(clean.logits), clean.labels)
    estimate = ESTIMATORS.get(name)().estimate(known, np.exp(target.logits))
    assert estimate == pytest.approx(accuracy(target), abs=0.03)


def test_transport_sees_a_classifier_that_names_one_class_alone() -> None:
    """A classifier that is certain of one class is right on a fifth; its confidence says that it is always right."""
    certain = np.full((500, CLASSES), 1e-6)
    certain[:, 0] = 1
    certain /= certain.sum(axis=1, keepdims=True)
    clean = LabeledProbabilities(np.eye(CLASSES)[np.arange(500) % CLASSES], np.arange(500) % CLASSES)
    assert ESTIMATORS.get("cot")().estimate(clean, certain) == pytest.approx(0.2, abs=0.01)
    assert ESTIMATORS.get("nuclear-norm")().estimate(clean, certain) == pytest.approx(CLASSES**-0.5, abs=0.01)
    assert ESTIMATORS.get("confidence")().estimate(clean, certain) > 0.99


def test_the_temperature_undoes_a_scale() -> None:
    plain = calibrated(2, 4000, "clean", 3)
    scaled = Predictions("clean", 7 * plain.logits, plain.labels)
    assert fit_temperature(plain) == pytest.approx(1, rel=0.1)
    assert fit_temperature(scaled) == pytest.approx(7 * fit_temperature(plain), rel=0.02)


def test_estimates_are_near_the_truth_that_they_did_not_see() -> None:
    made = study(STRENGTHS)
    found = estimate_accuracies(made)
    (site,) = found.sets
    errors = {each.name: each for each in found.estimators}
    for name in ("confidence", "cot", "atc", "nuclear-norm"):
        for arm in ARMS:
            truth = 100 * accuracy(made.predictions[arm, 0, "site"])
            assert site.estimates[name][arm] == pytest.approx(truth, abs=6), (name, arm)
        mean, largest = errors[name].mean, errors[name].largest
        assert mean is not None and largest is not None and 0 <= mean <= largest < 15
        assert (errors[name].shifts, errors[name].corrected) == (3, True)
        assert errors[name].right_signs == errors[name].pairs == 3
    for arm in ARMS:
        assert sum(site.class_shares[arm]) == pytest.approx(1)
    predicted = [made.predictions[arm, 0, "site"].logits.argmax(axis=1) for arm in ARMS]
    assert site.differing == {"strong": float((predicted[0] != predicted[1]).mean())}
    assert site.size == 1500


def test_the_error_on_a_shift_comes_from_the_other_shifts() -> None:
    """One shift on which both arms are confidently wrong: the correction does not see it, so it is far off."""
    made = study(STRENGTHS)
    for arm in ARMS:
        fooled = made.predictions[arm, 0, "near"]
        wrong = Predictions("near", fooled.logits, (fooled.logits.argmax(axis=1) + 1) % CLASSES)
        made.predictions[arm, 0, "near"] = wrong  # type: ignore[index]
        made.accuracies["near", arm] = 0.0  # type: ignore[index]
    errors = {each.name: each for each in estimate_accuracies(made).estimators}
    assert errors["cot"].largest is not None and errors["cot"].largest > 30


@pytest.mark.parametrize(("shifts", "known"), [((), None), (("near",), 1)])
def test_with_few_labeled_shifts_nothing_is_corrected(shifts: tuple[str, ...], known: int | None) -> None:
    made = study(STRENGTHS, shifts)
    found = estimate_accuracies(made)
    assert all(not each.corrected and each.shifts == len(shifts) for each in found.estimators)
    assert all((each.mean is None) == (known is None) for each in found.estimators)
    (site,) = found.sets
    truth = 100 * accuracy(made.predictions["weak", 0, "site"])
    assert site.estimates["cot"]["weak"] == pytest.approx(truth, abs=6)


def test_a_shift_with_few_classes_is_compared_with_clean_images_of_these() -> None:
    made = study(STRENGTHS)
    for arm in ARMS:
        few = made.predictions[arm, 0, "near"]
        inside = few.labels < 2
        made.predictions[arm, 0, "near"] = Predictions("near", few.logits[inside], few.labels[inside])  # type: ignore[index]
        right = few.logits[inside][:, :2].argmax(axis=1) == few.labels[inside]
        made.accuracies["near", arm] = 100 * float(right.mean())  # type: ignore[index]
    errors = {each.name: each for each in estimate_accuracies(made).estimators}
    assert errors["confidence"].largest is not None and errors["confidence"].largest < 12


def test_confidences_are_the_most_likely_classes() -> None:
    labels, confidence = confidences(Predictions("x", np.log([[0.1, 0.7, 0.2], [0.6, 0.3, 0.1]]), np.array([0, 0])))
    assert labels.tolist() == [1, 0] and confidence == pytest.approx([0.7, 0.6])
