"""Paired differences and resampling: against plain bootstraps, known variances, and their own symmetries."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, t as student

from genrobust.core import Score
from genrobust.robustness import Groups, Measured, interval_over_sets, mean_of, measure_accuracy, seed_weights
from genrobust.robustness.measured import Expected
from genrobust.robustness.resampling import FEW, resampled_means


def paired_difference(arm: np.ndarray, reference: np.ndarray, classes: int, bootstrap: int = 1000) -> Score:
    """Accuracy of `arm` minus that of `reference`, both bool [seeds, images]."""
    rng = np.random.default_rng(0)
    weights = seed_weights(len(arm), bootstrap, rng)
    return measure_accuracy(np.stack([arm, reference]), classes, bootstrap, rng).difference(0, 1, weights)


@pytest.fixture
def arms() -> tuple[np.ndarray, np.ndarray]:
    """Two arms, three seeds, 600 images; the first is right on 60 %, the second on 50 %, on much the same images."""
    rng = np.random.default_rng(3)
    hard = rng.random(600)
    own = rng.random((2, 3, 600))
    right = 0.8 * hard + 0.2 * own < np.array([0.6, 0.5])[:, None, None]
    return right[0], right[1]


def test_the_difference_of_an_arm_with_itself_is_exactly_nothing(arms):
    score = paired_difference(arms[0], arms[0], classes=6)
    assert (score.value, score.lo, score.hi) == (0, 0, 0)


def test_swapping_the_arms_flips_the_interval(arms):
    ours, swapped = paired_difference(*arms, classes=6), paired_difference(*arms[::-1], classes=6)
    assert ours.value == pytest.approx(-swapped.value)
    assert (ours.lo, ours.hi) == pytest.approx((-swapped.hi, -swapped.lo), abs=0.4)  # other draws
    assert ours.value == pytest.approx(100 * (arms[0].mean() - arms[1].mean()))
    assert 0 < ours.lo < ours.value < ours.hi


def test_pairing_by_image_narrows_the_interval(arms):
    shuffled = arms[1][:, np.random.default_rng(0).permutation(600)]
    paired = paired_difference(arms[0][:1], arms[1][:1], classes=6)
    unpaired = paired_difference(arms[0][:1], shuffled[:1], classes=6)
    assert paired.value == pytest.approx(unpaired.value)
    assert unpaired.hi - unpaired.lo > 1.8 * (paired.hi - paired.lo)


def test_with_one_seed_the_interval_is_that_of_the_paired_proportions_and_says_so(arms):
    score = paired_difference(arms[0][:1], arms[1][:1], classes=6, bootstrap=20_000)
    delta = 100 * (arms[0][0].astype(float) - arms[1][0])
    half = norm.ppf(0.975) * delta.std() / np.sqrt(600)
    assert (score.lo, score.hi) == pytest.approx((score.value - half, score.value + half), abs=0.25)
    assert score.method == "bootstrap 95 % over images; one seed"
    assert (score.n, score.classes) == (600, 6)


def test_several_seeds_are_resampled_too(arms):
    better = arms[0].copy()
    better[1] = True  # one seed is far better, so which seeds were run matters
    score = paired_difference(better, arms[1], classes=6)
    assert score.method == "bootstrap 95 % over images and 3 seeds"
    assert score.hi - score.lo > 3 * (lambda s: s.hi - s.lo)(paired_difference(*arms, classes=6))


def test_few_seeds_that_differ_widen_an_interval_as_students_t_does(arms):
    """Where seeds differ by far more than images leave open, the mean of three has two degrees of freedom."""
    point = np.array([[40.0, 50.0, 60.0]])
    measured = Measured(point, np.repeat(point[None], 4000, axis=0), 100, 6, "images", bounds=(0, 100))
    score = measured.difference_score(seed_weights(3, 4000, np.random.default_rng(0)))
    assert score.p == pytest.approx(2 * student.sf(50 / (10 / np.sqrt(3)), 2), rel=0.05)
    assert (score.hi - score.lo) / 2 == pytest.approx(student.ppf(0.975, 2) * 10 / np.sqrt(3), rel=0.25)
    alike = paired_difference(*(np.repeat(right[:1], 3, axis=0) for right in arms), classes=6)
    once = paired_difference(*(right[:1] for right in arms), classes=6)
    assert alike.p == pytest.approx(once.p, rel=1e-9)


@pytest.mark.parametrize(("ours", "theirs"), [(1.0, 1.0), (0.0, 0.0), (1.0, 0.0)])
@pytest.mark.parametrize("grouped", [True, False])
def test_arms_that_are_right_or_wrong_everywhere_have_intervals_of_some_width(ours, theirs, grouped):
    rng, n = np.random.default_rng(0), 60
    groups = Groups.of([str(i % 6) for i in range(n)], np.ones(n, dtype=bool)) if grouped else None
    right = np.broadcast_to(np.array([ours, theirs])[:, None, None] > 0, (2, 3, n))
    measured, weights = measure_accuracy(right, 6, 400, rng, groups), seed_weights(3, 400, rng)
    score, gain = measured.arm_score(0, weights), measured.difference(0, 1, weights)
    assert score.lo <= score.value <= score.hi and score.hi - score.lo > 1
    assert gain.value == 100 * (ours - theirs) and gain.lo <= gain.value <= gain.hi
    assert gain.p == 1 if ours == theirs else 0 < gain.p < 0.001


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("images", "seeds", "spread"), [(30_000, 3, 1.0), (10_000, 3, 2.0), (2_000, 3, 1.0), (2_000, 5, 2.0)]
)
def test_arms_that_differ_by_training_alone_are_told_apart_no_more_often_than_they_may(images, seeds, spread):
    """No groups, and trainings that differ by `spread` points: the seeds decide, and there are few of them."""
    rng, times, found, missed = np.random.default_rng(7), 400, 0, 0
    for _ in range(times):
        accuracy = 0.7 + spread / 100 * rng.standard_normal((2, seeds, 1))
        right = 0.8 * rng.random(images) + 0.2 * rng.random((2, seeds, images)) < accuracy
        score = measure_accuracy(right, 10, 400, rng).difference(1, 0, seed_weights(seeds, 400, rng))
        found += score.p < 0.05
        missed += not score.lo <= 0 <= score.hi
    assert max(found, missed) <= 0.075 * times, (found, missed)  # 7.5 % is what chance alone passes once in a hundred


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_seed_weights_carry_the_unbiased_variance_of_a_mean(seeds):
    values = np.random.default_rng(1).normal(size=seeds)
    weights = seed_weights(seeds, 200_000, np.random.default_rng(0))
    assert weights.sum(axis=1) == pytest.approx(np.ones(len(weights)))
    assert (weights @ values).var() == pytest.approx(values.var(ddof=1) / seeds, rel=0.02)


def test_resampled_means_are_those_of_drawing_images_one_by_one():
    rng = np.random.default_rng(0)
    columns = rng.random((80, 3)) < [0.2, 0.5, 0.9]
    members = np.column_stack([np.ones(80, bool), rng.random(80) < 0.5, np.ones(80, bool)])
    ours = resampled_means(columns, members, 20_000, np.random.default_rng(1))
    picks = rng.integers(0, 80, size=(20_000, 80))
    kept = members[picks]
    plain = (columns[picks] & kept).sum(axis=1) / kept.sum(axis=1)
    assert ours.mean(axis=0) == pytest.approx(plain.mean(axis=0), abs=0.002)
    assert ours.std(axis=0) == pytest.approx(plain.std(axis=0), rel=0.03)
    assert np.corrcoef(ours.T) == pytest.approx(np.corrcoef(plain.T), abs=0.03)


def test_many_distinct_rows_are_drawn_image_by_image_to_the_same_end():
    columns = np.random.default_rng(0).random((8000, 20)) < 0.6
    assert len(np.unique(columns, axis=0)) > FEW
    draws = resampled_means(columns, np.ones((8000, 1), dtype=bool), 1000, np.random.default_rng(1))
    assert draws.mean(axis=0) == pytest.approx(columns.mean(axis=0), abs=0.001)
    assert np.cov(draws.T) == pytest.approx(np.cov(columns.T, ddof=0) / 8000, abs=6e-6)


def test_two_arms_are_averaged_and_not_resampled():
    rng = np.random.default_rng(0)
    point = np.array([[50.0], [70.0], [90.0]])  # arms far apart, each known exactly
    measured = Measured(point, np.repeat(point[None], 400, axis=0), 100, 6, "images", bounds=(0, 100))
    weights = np.ones((400, 1))
    two = measured.mean_over_arms([0, 1]).arm_score(0, weights)
    assert (two.value, two.lo, two.hi) == (60, 60, 60)
    three = measured.mean_over_arms([0, 1, 2]).arm_score(0, weights)
    assert three.value == 70
    # Of a mean of three: Student's t with two degrees of freedom.
    assert (three.hi - three.lo) / 2 == pytest.approx(4.30 * 20 / np.sqrt(3), rel=0.2)
    same = measured.mean_over_arms([2, 0, 1], minus=[2, 0, 1]).arm_score(0, weights)
    assert (same.value, same.lo, same.hi) == (0, 0, 0)
    wide = Measured(point + 30, rng.normal(90, 30, (400, 3, 1)), 100, 6, "images", bounds=(0, 100))
    assert wide.mean_over_arms([0, 1]).arm_score(0, weights).hi == 100


def test_a_score_extrapolates_where_any_of_its_arms_does():
    rng = np.random.default_rng(0)
    measured = measure_accuracy(rng.random((3, 1, 50)) < 0.6, 6, 100, rng)
    measured = replace(measured, extrapolated=frozenset([1]), right=None)
    weights = seed_weights(1, 100, rng)
    for arm in range(3):
        for score in (measured.arm_score(arm, weights), measured.checkpoint_score(arm, 0)):
            assert score.extrapolated is (arm == 1)
    pairs = [(0, 1), (1, 2), (0, 2), (2, 0)]
    assert [measured.difference(*pair, weights).extrapolated for pair in pairs] == [True, True, False, False]
    for arms, minus, expected in (([0, 1], None, True), ([0, 2], None, False), ([0], [1], True), ([0], [2], False)):
        mean = measured.mean_over_arms(arms, minus)
        assert mean.arm_score(0, weights).extrapolated is mean.difference_score(weights).extrapolated is expected


def test_what_is_expected_of_few_clean_groups_is_as_uncertain_as_they_are():
    rng = np.random.default_rng(0)
    clean = Groups.of(["a"] * 20 + ["b"] * 20 + ["c"] * 20, np.ones(60, dtype=bool))
    accuracy = measure_accuracy(rng.random((1, 1, 900)) < 0.6, 6, 300, rng)
    drawn = rng.normal(50, 4, (300, 1, 1))
    expected = Expected(np.array([[50.0]]), drawn, "baselines", frozenset(), None, line_freedom=10**6)
    plain = accuracy.minus_expected(expected)
    wide = accuracy.minus_expected(replace(expected, clean_groups=clean))
    few = accuracy.minus_expected(replace(expected, line_freedom=4)).checkpoint_score(0, 0)
    assert (wide.over, plain.over) == ("images and 3 clean groups and baselines", "images and baselines")
    of_three, of_images = wide.checkpoint_score(0, 0), plain.checkpoint_score(0, 0)
    # Student's t with two degrees of freedom
    assert (of_three.hi - of_three.lo) / (of_images.hi - of_images.lo) == pytest.approx(4.30 / 1.96, rel=0.01)
    # and with four, of a line through six baselines
    assert (few.hi - few.lo) / (of_images.hi - of_images.lo) == pytest.approx(2.78 / 1.96, rel=0.01)


def test_a_mean_over_shifts_has_no_more_freedom_than_what_they_share():
    rng = np.random.default_rng(0)
    images = [f"{i % 40}" for i in range(400)]
    clean = Groups.of(["a"] * 20 + ["b"] * 20 + ["c"] * 20, np.ones(60, dtype=bool))
    parts = []
    for shift in range(6):
        of_shift = Groups.of([f"{shift} {name}" for name in images], np.ones(400, dtype=bool))
        accuracy = measure_accuracy(rng.random((1, 1, 400)) < 0.6, 6, 300, rng, of_shift)
        drawn = rng.normal(50, 4, (300, 1, 1))
        parts.append(accuracy.minus_expected(Expected(np.array([[50.0]]), drawn, "", frozenset(), clean, 30)))
    assert mean_of(parts, "mean of 6 shifts").freedom == parts[0].freedom == 2
    assert mean_of([replace(part, shared_freedom=np.inf) for part in parts], "").freedom > 2


def test_intervals_over_two_groups_hold_nothing_that_cannot_be():
    rng = np.random.default_rng(0)
    groups = Groups.of(["a"] * 30 + ["b"] * 30, np.ones(60, dtype=bool))
    right = np.stack([np.arange(60) < 30, np.arange(60) >= 30])[:, None]  # each arm knows one of the two groups alone
    accuracy = measure_accuracy(right, 6, 300, rng, groups)
    expected = np.array([[40.0], [30.0]])
    certain = Expected(expected, np.broadcast_to(expected, (300, 2, 1)), "baselines", frozenset(), None, 30)
    robustness = accuracy.minus_expected(certain)
    weights = seed_weights(1, 300, rng)
    for measured, (least, most) in ((accuracy, (0, 100)), (robustness, (-100, 100))):
        for score in (measured.arm_score(0, weights), measured.checkpoint_score(1, 0)):
            assert (score.lo, score.hi) == (least, most)  # Student's t with one degree of freedom reaches far beyond
        score = measured.difference(0, 1, weights)
        assert (score.lo, score.hi) == (least - most, most - least)
        mean = measured.mean_over_arms([0], minus=[1]).difference_score(weights)
        assert (mean.lo, mean.hi) == (score.lo, score.hi)


def test_an_interval_over_sets_is_students_over_their_values_alone():
    values = [6.1, 3.4, 7.2, 16.9, 4.0, 3.9]
    expected = student.interval(0.95, 5, np.mean(values), np.std(values, ddof=1) / np.sqrt(6))
    assert interval_over_sets(values) == pytest.approx(expected)
    assert interval_over_sets([1.0]) is None
