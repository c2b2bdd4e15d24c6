"""Effective robustness beyond what the accuracies on several in-distribution sets at once predict.

Shi et al. (2023), "Effective Robustness against Natural Distribution Shifts for Models with Different Training Data",
section 4: a model that learned from other data than the baselines did is in its own distribution on another set than
they are, and one line over a single ID set flatters it. So transformed shifted accuracy is regressed on the transformed
accuracies on all ID sets. Accuracies are in percent and transformed as fractions, differences in points.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genrobust.core import BaselineModel, Plane, UserError
from genrobust.robustness.effective import from_scale, has_finite_scale, require_percents, to_scale


def fit_plane(
    ids: np.ndarray, shifted: np.ndarray, test_set: str, id_sets: Sequence[str], transform: str = "logit"
) -> Plane:
    """Fit the baseline plane of `test_set`: ordinary least squares over the accuracies `ids`, percents [M, D].

    `shifted` are percents [M], one entry a standard model; the D ID sets are called `id_sets`. As in `fit_line`, every
    model has the same weight, and one at 0 % or 100 % on any set is left out where that has no finite transform.

    Raises:
        UserError: Values outside 0 to 100, fractions in place of percents, fewer than D + 2 models that are left, or
            ID accuracies that do not determine a plane.
    """
    ids, shifted = np.asarray(ids, dtype=float), np.asarray(shifted, dtype=float)
    require_percents(ids, shifted, f"baselines of {test_set!r}")
    used = has_finite_scale(ids, shifted, transform)
    x, y = to_scale(transform, ids[used] / 100), to_scale(transform, shifted[used] / 100)
    design = np.column_stack([np.ones(len(x)), x])
    needed = design.shape[1] + 1  # one more than coefficients, so that residuals say something
    if len(x) < needed or np.linalg.matrix_rank(design - [0, *x.mean(axis=0)]) < design.shape[1]:
        raise UserError(
            f"baselines of {test_set!r}: {len(x)} models with finite {transform} accuracies do not determine a plane "
            f"over {' and '.join(id_sets)}: it takes {needed} or more whose accuracies on those are not in proportion"
        )
    coefficients = np.linalg.lstsq(design, y, rcond=None)[0]
    unexplained = float(((y - design @ coefficients) ** 2).sum())
    return Plane(
        test_set=test_set,
        id_sets=tuple(id_sets),
        transform=transform,
        slopes=tuple(coefficients[1:].tolist()),
        intercept=float(coefficients[0]),
        r2=1 - unexplained / float(((y - y.mean()) ** 2).sum()) if np.ptp(y) else 0.0,
        n=len(x),
        residual_sd=float(np.sqrt(unexplained / (len(x) - design.shape[1]))),
        lo=tuple(ids[used].min(axis=0).tolist()),
        hi=tuple(ids[used].max(axis=0).tolist()),
    )


def fit_planes(
    baselines: Sequence[BaselineModel], shifts: Sequence[str], clean: str, second: str, transform: str = "logit"
) -> dict[str, Plane]:
    """Fit the plane of each of `shifts` that has baselines, over the `clean` set and the test set `second`.

    A baseline's second ID accuracy is its row of the set `second`, over that set's own classes; its clean accuracy is
    the one in the shift's row, over the shift's classes.

    Raises:
        UserError: No baseline was scored on `second`, or those of a shift are too few or do not determine a plane.
    """
    if not any(b.test_set == second for b in baselines):
        raise UserError(
            f"robustness.second_id: no baseline was scored on {second!r}: name a table with such rows under "
            "robustness.baselines, train baselines with robustness.grid, or set second_id to null"
        )
    planes = {}
    for shift in shifts:
        if shift != second and any(b.test_set == shift for b in baselines):
            _, ids, shifted = pair_up(baselines, shift, second)
            planes[shift] = fit_plane(ids, shifted, shift, (clean, second), transform)
    return planes


def pair_up(
    baselines: Sequence[BaselineModel], shift: str, second: str
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Return the baselines scored on `shift` and on `second`: names, ID accuracies [M, 2], shifted accuracies [M]."""
    on_second = {b.model: b.shifted for b in baselines if b.test_set == second}
    rows = [b for b in baselines if b.test_set == shift and b.model in on_second]
    ids = np.array([(b.clean, on_second[b.model]) for b in rows]).reshape(len(rows), 2)
    return tuple(b.model for b in rows), ids, np.array([b.shifted for b in rows])


def plane_expected(plane: Plane, ids: np.ndarray) -> np.ndarray:
    """Return the shifted accuracies [...] that `plane` predicts from `ids` [..., D], all in percent."""
    return plane_predict(np.array([plane.intercept, *plane.slopes]), plane.transform, ids)


def beyond_plane(plane: Plane, ids: np.ndarray) -> np.ndarray:
    """Return whether any of the ID accuracies, percents [..., D], lies outside those that the plane was fitted on."""
    outside = (ids < np.array(plane.lo)) | (ids > np.array(plane.hi))
    return np.asarray(outside.any(axis=-1))


def plane_predict(coefficients: np.ndarray, transform: str, ids: np.ndarray) -> np.ndarray:
    """Invert intercept + slopes . transform(ids): percents [..., D] to [...]; coefficients are [..., 1 + D]."""
    x = to_scale(transform, np.asarray(ids) / 100)
    return 100 * from_scale(transform, coefficients[..., 0] + (coefficients[..., 1:] * x).sum(axis=-1))


def refit_planes(ids: np.ndarray, shifted: np.ndarray, weights: np.ndarray, transform: str) -> np.ndarray:
    """Fit the plane with its M baselines weighted by each row of `weights` [B, M]: intercept and slopes, [B, 1 + D].

    A row of resampling counts gives the plane of that bootstrap resample. One that determines no plane gives NaN. Over
    one ID set, D = 1, it is a line.
    """
    used = has_finite_scale(ids, shifted, transform)
    x, y = to_scale(transform, ids[used] / 100), to_scale(transform, shifted[used] / 100)
    mean_x, scale, mean_y = x.mean(axis=0), x.std(axis=0), y.mean()
    design = np.column_stack([np.ones(len(x)), (x - mean_x) / scale])  # so that the normal equations are well scaled
    weights = np.asarray(weights, dtype=float)[:, used]
    outer = design[:, :, None] * design[:, None]
    squares = (weights @ outer.reshape(len(x), -1)).reshape(-1, *outer.shape[1:])
    products = weights @ (design * (y - mean_y)[:, None])
    solvable = np.linalg.cond(squares) < 1e12
    squares[~solvable] = np.eye(design.shape[1])
    solutions = np.linalg.solve(squares, products[..., None])[..., 0]
    slopes = solutions[:, 1:] / scale
    coefficients = np.column_stack([solutions[:, 0] + mean_y - slopes @ mean_x, slopes])
    coefficients[~solvable] = np.nan
    return coefficients
