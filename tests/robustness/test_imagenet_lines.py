"""Published lines give intervals without their models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import linregress, t

from genrobust.core import Line, Predictions, UserError
from genrobust.robustness import Comparison, fit_line, summarize
from genrobust.robustness.baseline_lines import draw_lines


def test_drawn_lines_scatter_as_the_standard_errors_of_the_fit_say() -> None:
    """Against scipy's standard error of the mean response, at the center and away from it."""
    rng = np.random.default_rng(0)
    x = rng.normal(1.2, 0.4, 30)
    y = 0.9 * x - 1 + rng.normal(0, 0.15, 30)
    line = fit_line(100 * expit(x), 100 * expit(y), "shift")
    slope, intercept = draw_lines(line, 100_000, np.random.default_rng(1))
    fit = linregress(x, y)
    for at in (x.mean(), 0.0, 3.0):
        error = np.sqrt(line.residual_sd**2 / 30 + (fit.stderr * (at - x.mean())) ** 2)
        heights = intercept + slope * at
        expected = fit.intercept + fit.slope * at + error * t.ppf([0.025, 0.975], 28)
        assert np.quantile(heights, [0.025, 0.975]) == pytest.approx(expected, abs=0.03 * error)


def test_of_a_line_that_is_exact_or_flat_nothing_is_made_up() -> None:
    line = fit_line([50, 60, 70, 80], [40, 45, 60, 65], "shift")
    exact = replace(line, slope=0.9, intercept=-1.0, r2=1.0, residual_sd=0.0)
    drawn = draw_lines(exact, 3, np.random.default_rng(0))
    assert [values.tolist() for values in drawn] == [[0.9] * 3, [-1.0] * 3]
    with pytest.raises(UserError, match=r"the line of 'shift' is flat"):
        draw_lines(replace(line, slope=0.0, r2=0.0), 3, np.random.default_rng(0))


def predictions(test_set: str, right: float, n: int = 400) -> Predictions:
    """Two classes; the first `right` of n images are classified right."""
    labels = np.arange(n) % 2
    logits = np.zeros((n, 2), dtype=np.float32)
    guess = np.where(np.arange(n) < right * n, labels, 1 - labels)
    logits[np.arange(n), guess] = 1
    return Predictions(test_set, logits, labels, tuple(map(str, range(n))), ("a", "b"), "64 px")


def test_a_published_line_stands_in_for_baselines() -> None:
    found = {("real", 0, "test"): predictions("test", 0.9), ("real", 0, "sketch"): predictions("sketch", 0.8)}
    of = {"test_set": "sketch", "transform": "logit", "slope": 1.0, "intercept": -1.0, "lo": 50.0, "hi": 85.0}
    line = Line(**of, r2=0.9, n=50, residual_sd=0.1, center=1.0)
    alone = summarize(found, Comparison("test", ["sketch"], "real", published={"sketch": line}))
    er = alone.score("er", "real", "sketch")
    assert er.value == pytest.approx(80 - 100 * expit(logit(0.9) - 1))
    assert "images and the line's error" in er.method
    assert er.extrapolated and alone.lines == {"sketch": line}
    exact = Line(**of, r2=1 - 1e-9, n=50, residual_sd=1e-9, center=1.0)
    narrow = summarize(found, Comparison("test", ["sketch"], "real", published={"sketch": exact}))
    narrow = narrow.score("er", "real", "sketch")
    assert er.hi - er.lo > narrow.hi - narrow.lo > 5  # the line's own error comes on top of that over images


def test_a_set_beside_is_scored_and_left_out_of_the_mean() -> None:
    found = {("real", 0, name): predictions(name, right) for name, right in (("test", 0.9), ("a", 0.5), ("b", 0.7))}
    summary = summarize(found, Comparison("test", ["a", "b"], "real", beside={"b": "other labels"}))
    assert summary.shifts == ("a",) and summary.left_out == {"b": "other labels"}
    assert summary.score("top1", "real").value == 50 and summary.score("top1", "real", "b").value == pytest.approx(70)
