"""Tables of models scored at once: what the line leaves out, and what is doubted."""

import numpy as np
import pytest
from scipy.special import expit, logit

from genrobust.core import UserError
from genrobust.robustness import Published, PublishedScores, score_published

CLEAN = np.array([55.0, 62.0, 70.0, 74.0, 81.0, 90.0])
SHIFTED = np.array([20.0, 27.0, 33.0, 41.0, 47.0, 80.0])


def table(clean, shifted) -> Published:
    names = tuple(f"m{i}" for i in range(len(clean)))
    return Published(names, np.array(clean, dtype=float), np.array(shifted, dtype=float), "val", "r")


def score_table(baselines, clean, shifted) -> PublishedScores:
    """The scores of models of which the first so many are baselines."""
    return score_published(table(clean, shifted), np.arange(len(clean)) < baselines)


@pytest.mark.parametrize(
    ("baselines", "clean", "shifted", "message"),
    [(3, [60, 70, 100], [20, 30, 90], "of these 2 models 2"), (0, CLEAN, SHIFTED, "of these 0 models 0")],
)
def test_too_few_baselines_are_refused(baselines, clean, shifted, message):
    with pytest.raises(UserError, match=message):
        score_table(baselines, clean, shifted)


def test_baselines_that_no_line_is_fitted_on_are_named_by_reason():
    found = score_published(table([*CLEAN, 100], [*SHIFTED, 90]), np.arange(7) > 0, min_id=65)
    assert found.left_out == {"ID accuracy below 65 %": ("m1",), "0 % or 100 % has no finite logit": ("m6",)}


def test_copies_of_a_model_count_once_and_are_named():
    clean, shifted = [*CLEAN, *CLEAN[[1, 1]]], [*SHIFTED, *SHIFTED[[1, 1]]]
    scored = score_published(table(clean, shifted), np.ones(8, dtype=bool))
    assert scored.line == score_table(6, CLEAN, SHIFTED).line
    assert list(scored.left_out.values()) == [("m6", "m7")] and len(scored.er) == 8


@pytest.mark.parametrize("baselines", [3, 6])
def test_the_interval_is_over_all_resamples_of_the_baselines_that_make_a_line(baselines):
    """Against lines fitted one by one; of three models, a resample may be one model three times."""
    scored, rng = score_table(baselines, CLEAN, SHIFTED), np.random.default_rng(1)
    differences = []
    while len(differences) < 2000:
        rows = rng.integers(0, baselines, baselines)
        if np.unique(rows).size > 1:
            slope, intercept = np.polyfit(logit(CLEAN[rows] / 100), logit(SHIFTED[rows] / 100), 1)
            differences.append(SHIFTED - 100 * expit(intercept + slope * logit(CLEAN / 100)))
    lo, hi = np.percentile(differences, (2.5, 97.5), axis=0)
    assert scored.lo == pytest.approx(lo, abs=0.5) and scored.hi == pytest.approx(hi, abs=0.5)
    assert (scored.lo < scored.hi).all()
    assert scored.extrapolated.tolist() == (CLEAN[baselines - 1] < CLEAN).tolist()


def test_shifted_accuracies_that_are_all_alike_have_no_r2_to_show():
    line = score_table(6, CLEAN, np.full(6, 30.0)).line
    assert (line.slope, line.r2) == pytest.approx((0, 0), abs=1e-9)


def said(clean, shifted):
    return score_published(table(clean, shifted), np.ones(len(clean), dtype=bool)).doubts


def test_columns_that_seem_swapped_or_unrelated_are_told():
    assert said(CLEAN, SHIFTED) == ()
    (swapped,) = said(SHIFTED, CLEAN)
    assert swapped.startswith("6 of 6 models are more accurate on the shifted set")
    (fractions,) = said(CLEAN, SHIFTED / 100)
    assert "fractions instead of percents?" in fractions
    assert any("fractions among percents?" in doubt for doubt in said([0.5, *CLEAN[1:]], SHIFTED))
    assert said([7.0, *CLEAN[1:]], [0.9, 7.0, *SHIFTED[2:]]) == (), "the least of the others is near"
    assert any("fractions among percents?" in doubt for doubt in said([7.0, *CLEAN[1:]], [0.6, 7.0, *SHIFTED[2:]]))
    (falling,) = said(CLEAN, SHIFTED[[4, 3, 2, 1, 0, 0]])
    assert "its slope is -" in falling
    (steep,) = said(np.array([70.0, 71.0, 72.0, 73.0]), np.array([20.0, 30.0, 40.0, 50.0]))
    assert "its slope is 9." in steep
    (noise,) = said(CLEAN, np.array([20.0, 10.0, 19.0, 9.0, 20.0, 18.0]))
    assert "its R² is 0." in noise and "below 0.2" in noise
