"""The baseline line against scipy and hand-made cases, and what no line can be fitted to."""

import numpy as np
import pytest
from scipy.special import expit, logit, ndtr, ndtri
from scipy.stats import linregress

from genrobust.core import BaselineModel, UserError
from genrobust.robustness import effective_robustness, fit_line, fit_lines, to_scale
from genrobust.robustness.baseline_lines import find_extrapolated, move_inside, refit_lines

CLEAN = np.array([55.0, 62.0, 70.0, 74.0, 81.0])
SHIFTED = np.array([20.0, 27.0, 33.0, 41.0, 47.0])
ROWS = [BaselineModel(f"m{i}", "r", c, s) for i, (c, s) in enumerate(zip(CLEAN, SHIFTED, strict=True))]
SPACES = {"logit": (logit, expit), "probit": (ndtri, ndtr), "linear": (np.array, np.array)}


@pytest.mark.parametrize("transform", SPACES)
def test_the_line_is_scipys_regression_in_the_transformed_space(transform):
    forward, inverse = SPACES[transform]
    line = fit_line(CLEAN, SHIFTED, "sketch", transform)
    x, y = forward(CLEAN / 100), forward(SHIFTED / 100)
    theirs = linregress(x, y)
    residuals = y - theirs.intercept - theirs.slope * x
    assert (line.slope, line.intercept) == pytest.approx((theirs.slope, theirs.intercept))
    assert (line.r2, line.n, line.lo, line.hi) == pytest.approx((theirs.rvalue**2, 5, 55, 81))
    assert line.residual_sd == pytest.approx(np.sqrt((residuals**2).sum() / 3))
    predicted = 100 * inverse(theirs.intercept + theirs.slope * forward(0.7))
    assert -effective_robustness(line, 70.0, 0.0) == pytest.approx(predicted)


def test_models_on_one_line_have_no_effective_robustness_and_a_point_above_has_its_height():
    shifted = 100 * expit(-1.5 + 0.8 * logit(CLEAN / 100))
    line = fit_line(CLEAN, shifted, "sketch")
    assert (line.slope, line.intercept, line.r2) == pytest.approx((0.8, -1.5, 1))
    assert effective_robustness(line, CLEAN, shifted) == pytest.approx(np.zeros(5), abs=1e-9)
    assert effective_robustness(line, CLEAN, shifted + 7) == pytest.approx(np.full(5, 7))


def test_accuracies_of_0_and_100_are_left_out_of_a_logit_line_and_kept_in_a_linear_one():
    clean, shifted = [*CLEAN, 100.0, 50.0], [*SHIFTED, 90.0, 0.0]
    assert fit_line(clean, shifted, "r") == fit_line(CLEAN, SHIFTED, "r")
    assert fit_line(clean, shifted, "r", "linear").n == 7


def test_a_perfect_or_hopeless_model_is_expected_at_the_limits():
    line = fit_line(CLEAN, SHIFTED, "r")
    assert -effective_robustness(line, [0.0, 100.0], 0.0) == pytest.approx([0, 100], abs=1e-4)


@pytest.mark.parametrize("transform", SPACES)
def test_a_perfect_checkpoint_is_moved_in_by_half_an_image_where_the_scale_has_no_place_for_it(transform):
    found = move_inside(np.array([0, 1, 50, 99, 100.0]), 50, transform)
    assert found.tolist() == ([0, 1, 50, 99, 100] if transform == "linear" else [1, 1, 50, 99, 99])


@pytest.mark.parametrize(
    ("clean", "shifted", "message"),
    [
        ([60.0, 70.0], [20.0, 30.0], "three models or more"),
        ([60.0, 60.0, 60.0, 70.0], [20.0, 21.0, 22.0, 30.0], "three models or more"),
        ([60.0, 70.0, 100.0], [20.0, 30.0, 90.0], "of these 3 models 2 can"),
        ([0.6, 0.7, 0.8], [0.2, 0.3, 0.4], "give percents"),
        ([60.0, 70.0, 180.0], [20.0, 30.0, 40.0], "no percent"),
        ([60.0, 70.0, float("nan")], [20.0, 30.0, 40.0], "no percent"),
        ([60.0, 70.0, 80.0], [20.0, 30.0], "do not pair up"),
    ],
)
def test_baselines_that_make_no_line_are_refused_by_set(clean, shifted, message):
    with pytest.raises(UserError, match=message) as caught:
        fit_line(clean, shifted, "sketch")
    assert "'sketch'" in str(caught.value)


def test_fractions_are_not_taken_for_percents_nor_percents_for_fractions():
    line = fit_line(CLEAN, SHIFTED, "r")
    assert 1 < line.lo < 100 * 0.7
    with pytest.raises(ValueError, match="clean: "):
        effective_robustness(line, [0.7, 0.1], [0.4, 0.1])
    assert effective_robustness(line, 0.1, 0.1) < 1  # a network that guesses a thousand classes
    with pytest.raises(ValueError, match="fraction: 70 "):
        to_scale("logit", np.array([0.7, 70]))


def test_an_arm_is_outside_by_the_mean_of_its_seeds_and_more_than_a_standard_error():
    percents = np.array([[84.0, 88.0, 86.6], [86.9] * 3, [70.0, 11.0, 10.0], [7.4, 8.4, 9.4], [8.4, 8.5, 8.6]])
    assert find_extrapolated(percents, 380, lo=10.0, hi=85.0) == {1, 3}  # standard errors of 1.54 and 1.83 points
    assert find_extrapolated(percents, 10**6, lo=10.0, hi=85.0) == {0, 1, 3, 4}


def test_only_shifts_with_baselines_have_a_line():
    assert fit_lines(ROWS, ["r", "sketch"]) == {"r": fit_line(CLEAN, SHIFTED, "r")}


@pytest.mark.parametrize("transform", SPACES)
def test_refitted_lines_are_those_of_the_repeated_models(transform):
    forward, _ = SPACES[transform]
    weights = np.random.default_rng(1).multinomial(5, np.full(5, 0.2), size=50)
    weights[:2] = np.diag([5, 1])[:, :1] * [1, 0, 0, 0, 0]  # one model alone determines no line
    intercepts, slopes = refit_lines(CLEAN, SHIFTED, weights, transform)
    assert np.isnan(slopes).tolist() == ((weights > 0).sum(axis=1) < 2).tolist() == np.isnan(intercepts).tolist()
    for counts, intercept, slope in zip(weights, intercepts, slopes, strict=True):
        if not np.isnan(slope):
            x, y = (forward(np.repeat(percents, counts) / 100) for percents in (CLEAN, SHIFTED))
            assert (slope, intercept) == pytest.approx(tuple(np.polyfit(x, y, 1)), abs=1e-9)


def test_refitted_lines_leave_out_models_without_a_finite_logit():
    weights = np.random.default_rng(1).multinomial(7, np.full(7, 1 / 7), size=20)
    found = refit_lines(np.array([*CLEAN, 0.0, 90]), np.array([*SHIFTED, 20, 100.0]), weights, "logit")
    assert np.array(found) == pytest.approx(np.array(refit_lines(CLEAN, SHIFTED, weights[:, :5], "logit")), nan_ok=True)
