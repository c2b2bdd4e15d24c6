"""Planes over several ID sets: against scipy's and numpy's own solvers, and hand-made cases."""

import numpy as np
import pytest
from scipy.linalg import lstsq
from scipy.special import expit, logit, ndtr, ndtri

from genrobust.core.errors import UserError
from genrobust.core.results import BaselineModel
from genrobust.robustness.effective import effective_robustness, expected, fit_line
from genrobust.robustness.multi_id import beyond_plane, fit_plane, fit_planes, plane_expected, refit_planes
from genrobust.robustness.table import Published, score_published

SPACES = {"logit": (logit, expit), "probit": (ndtri, ndtr), "linear": (np.array, np.array)}
RNG = np.random.default_rng(0)
IDS = RNG.uniform(40, 90, size=(15, 2))
SHIFTED = 100 * expit(-0.5 + logit(IDS / 100) @ [0.4, 0.7] + 0.2 * RNG.normal(size=15))
NAMES = ("imagenet", "laion")


def rows(ids=IDS, shifted=SHIFTED):
    """Baselines as a study's table has them: a row of the shift "r" and one of the second ID set."""
    return [
        row
        for i, ((clean, second), of_shift) in enumerate(zip(ids, shifted, strict=True))
        for row in (BaselineModel(f"m{i}", "r", clean, of_shift), BaselineModel(f"m{i}", "wild", clean + 1, second))
    ]


@pytest.mark.parametrize("transform", SPACES)
def test_the_plane_is_scipys_least_squares_in_the_transformed_space(transform):
    forward, inverse = SPACES[transform]
    plane = fit_plane(IDS, SHIFTED, "r", NAMES, transform)
    x, y = forward(IDS / 100), forward(SHIFTED / 100)
    design = np.column_stack([x, np.ones(15)])
    theirs, *_ = lstsq(design, y)
    left = y - design @ theirs
    assert (*plane.slopes, plane.intercept) == pytest.approx(theirs, abs=1e-9)
    assert plane.r2 == pytest.approx(1 - left.var() / y.var(), abs=1e-9)
    assert plane.residual_sd == pytest.approx(np.sqrt((left**2).sum() / 12), abs=1e-9)
    assert (plane.n, plane.id_sets, plane.lo[1], plane.hi[0]) == (15, NAMES, IDS[:, 1].min(), IDS[:, 0].max())
    at = np.array([[70.0, 55.0], [45.0, 88.0]])
    expected = 100 * inverse(theirs[2] + forward(at / 100) @ theirs[:2])
    assert plane_expected(plane, at) == pytest.approx(expected, abs=1e-9)


def test_over_one_id_set_it_is_the_usual_measure():
    plane = fit_plane(IDS[:, :1], SHIFTED, "r", ["imagenet"])
    line = fit_line(IDS[:, 0], SHIFTED, "r")
    assert (plane.slopes[0], plane.intercept, plane.r2) == pytest.approx((line.slope, line.intercept, line.r2))
    assert plane_expected(plane, np.array([72.0])) == pytest.approx(expected(line, 72.0), abs=1e-9)


def test_what_the_second_id_set_explains_is_no_effective_robustness():
    """Two families, each good in its own distribution, on one plane: a line over the first set sees robustness."""
    ids = np.array([[60, 30], [66, 37], [72, 45], [79, 50], [50, 60], [57, 66], [63, 71], [70, 80]], dtype=float)
    shifted = 100 * expit(-0.3 + logit(ids / 100) @ [0.5, 0.5])
    plane = fit_plane(ids, shifted, "r", NAMES)
    assert plane_expected(plane, ids) == pytest.approx(shifted, abs=1e-9)
    line = fit_line(ids[:4, 0], shifted[:4], "r")
    assert (effective_robustness(line, ids[4:, 0], shifted[4:]) > 10).all()


def test_a_model_beyond_either_id_range_is_told():
    plane = fit_plane(IDS, SHIFTED, "r", NAMES)
    inside, low, high = IDS.mean(axis=0), (IDS[:, 0].mean(), IDS[:, 1].min() - 1), (IDS[:, 0].max() + 1, 60.0)
    assert beyond_plane(plane, np.array([inside, low, high])).tolist() == [False, True, True]


def test_models_without_a_finite_transform_are_left_out_of_a_logit_plane_alone():
    ids, shifted = np.vstack([IDS, [[0.0, 50], [60, 100]]]), np.array([*SHIFTED, 20, 30])
    assert fit_plane(ids, shifted, "r", NAMES) == fit_plane(IDS, SHIFTED, "r", NAMES)
    assert fit_plane(ids, shifted, "r", NAMES, "linear").n == 17


@pytest.mark.parametrize(
    ("ids", "count"),
    [(IDS[:3], 3), (np.column_stack([IDS[:, 0], IDS[:, 0]]), 15), (np.full((15, 2), 50.0), 15)],
    ids=["too few", "one set twice", "all alike"],
)
def test_baselines_that_determine_no_plane_are_refused(ids, count):
    with pytest.raises(UserError, match=f"'r': {count} models .* plane over imagenet and laion: it takes 4 or more"):
        fit_plane(ids, SHIFTED[: len(ids)], "r", NAMES)
    with pytest.raises(UserError, match=r"'r': .*not fractions"):
        fit_plane(IDS / 100, SHIFTED / 100, "r", NAMES)


@pytest.mark.parametrize("transform", SPACES)
@pytest.mark.parametrize("ids", [IDS, IDS[:, :1]], ids=["planes", "lines"])
def test_refitted_planes_are_those_of_the_repeated_models(ids, transform):
    forward, _ = SPACES[transform]
    weights = np.random.default_rng(1).multinomial(15, np.full(15, 1 / 15), size=50)
    ours = refit_planes(ids, SHIFTED, weights, transform)
    for counts, found in zip(weights, ours, strict=True):
        picks = np.repeat(np.arange(15), counts)
        design = np.column_stack([np.ones(15), forward(ids[picks] / 100)])
        assert found == pytest.approx(np.linalg.lstsq(design, forward(SHIFTED[picks] / 100), rcond=None)[0], abs=1e-9)


def test_a_resample_that_determines_no_plane_has_none():
    weights = np.ones((3, 15))
    weights[0, 2:] = weights[1, 1:] = 0
    assert np.isnan(refit_planes(IDS, SHIFTED, weights, "logit")).all(axis=1).tolist() == [True, True, False]
    assert np.isnan(refit_planes(IDS[:, :1], SHIFTED, weights, "logit")).all(axis=1).tolist() == [False, True, False]


def test_the_interval_of_a_table_is_over_the_planes_of_resampled_baselines():
    models = Published(tuple(f"m{i}" for i in range(15)), IDS, SHIFTED, NAMES, "r")
    found = score_published(models, np.arange(15) < 12)
    scores = found.scores
    assert len(found.by_id) == 2
    x, y = logit(IDS / 100), logit(SHIFTED / 100)
    drawn = []
    for counts in np.random.default_rng(0).multinomial(12, np.full(12, 1 / 12), size=1000):
        picks = np.repeat(np.arange(12), counts)
        coefficients, _, rank, _ = np.linalg.lstsq(np.column_stack([np.ones(12), x[picks]]), y[picks], rcond=None)
        assert rank == 3
        drawn.append(SHIFTED - 100 * expit(coefficients[0] + x @ coefficients[1:]))
    assert np.array([scores.lo, scores.hi]) == pytest.approx(np.percentile(drawn, [2.5, 97.5], axis=0), abs=1e-6)
    assert scores.plane is not None and scores.plane.n == 12
    assert scores.er == pytest.approx(SHIFTED - plane_expected(scores.plane, IDS), abs=1e-9)


def test_a_studys_planes_pair_the_rows_of_a_model_by_name():
    planes = fit_planes([*rows()[::-1], BaselineModel("alone", "r", 60, 1)], ["r", "wild", "none"], "test", "wild")
    assert list(planes) == ["r"]
    theirs = fit_plane(IDS[::-1], SHIFTED[::-1], "r", ("test", "wild"))
    assert planes["r"].slopes == pytest.approx(theirs.slopes, abs=1e-9)
    assert planes["r"].n == 15


def test_a_second_id_set_without_baselines_is_named():
    with pytest.raises(UserError, match=r"second_id: .*'emoji'"):
        fit_planes(rows(), ["r"], "test", "emoji")
