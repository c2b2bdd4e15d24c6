"""Baseline lines and effective robustness: shifted accuracy minus the prediction of the line from clean accuracy.

Taori et al. (2020), "Measuring Robustness to Natural Distribution Shifts in Image Classification", section 2. All
accuracies here are in percent and all differences in points; they are transformed as fractions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri

from genrobust.core import BaselineModel, Line, UserError

# Each transform with its inverse.
SCALES = {"logit": (logit, expit), "probit": (ndtri, ndtr), "linear": (np.asarray, np.asarray)}
# A line through two points says nothing about the scatter around it.
MIN_MODELS = 3
Percents = Sequence[float] | np.ndarray


def to_scale(transform: str, fraction: np.ndarray | float) -> np.ndarray:
    """Transform fractions in [0, 1] to the scale "logit", "probit" or "linear".

    0 and 1 are infinite on the first two. They are moved inside by 1e-9, far less than one image of any test set.

    Raises:
        UserError: There is no such scale.
        ValueError: A fraction is outside [0, 1], for example a percent.
    """
    values = np.asarray(fraction)
    outside = values[(values < 0) | (values > 1)]
    if outside.size:
        raise ValueError(f"fraction: {outside[0]:g} is not between 0 and 1: divide percents by 100")
    forward, _ = _find_scale(transform)
    return np.asarray(forward(np.clip(values, 1e-9, 1 - 1e-9)))


def _find_scale(transform: str) -> tuple:
    try:
        return SCALES[transform]
    except KeyError:
        raise UserError(f"transform: {transform!r} is none of {', '.join(SCALES)}") from None


def fit_line(clean: Percents, shifted: Percents, test_set: str, transform: str = "logit") -> Line:
    """Fit the baseline line of `test_set`: ordinary least squares of transformed shifted on transformed clean accuracy.

    The testbed of Taori et al. gives every model the same weight and transforms raw accuracies; so does this function.
    A model at exactly 0 % or 100 % has no finite logit or probit. It is left out on these scales (`n` counts the models
    used). A clipped point would be far from its true place and would tilt the line.

    Args:
        clean: Percents [M], one of each standard model.
        shifted: Percents [M] of the same models.

    Raises:
        UserError: Values outside 0 to 100, fractions instead of percents, or fewer than three models of different
            clean accuracy.
    """
    used_clean, used_shifted = _select_usable(clean, shifted, test_set, transform)
    x = to_scale(transform, used_clean / 100)
    y = to_scale(transform, used_shifted / 100)
    # The same as scipy.stats.linregress, which takes half a second to import.
    slope, intercept = np.polyfit(x, y, 1)
    unexplained = float(((y - intercept - slope * x) ** 2).sum())
    r2 = 0.0
    if np.ptp(y):
        r2 = 1 - unexplained / float(((y - y.mean()) ** 2).sum())
    return Line(
        test_set=test_set,
        transform=transform,
        slope=float(slope),
        intercept=float(intercept),
        r2=r2,
        n=len(x),
        residual_sd=float(np.sqrt(unexplained / (len(x) - 2))),
        lo=float(used_clean.min()),
        hi=float(used_clean.max()),
        center=float(x.mean()),
    )


def _select_usable(clean: Percents, shifted: Percents, test_set: str, transform: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the percents of the models that a line can be fitted to.

    Raises:
        UserError: There are too few, or a value is no percent.
    """
    x = np.asarray(clean, dtype=float)
    y = np.asarray(shifted, dtype=float)
    where = f"baselines of {test_set!r}"
    if x.shape != y.shape or x.ndim != 1:
        raise UserError(f"{where}: {x.shape} clean accuracies and {y.shape} shifted ones do not pair up")
    is_percent = np.array([(percents >= 0) & (percents <= 100) for percents in (x, y)])
    if not is_percent.all():
        raise UserError(f"{where}: an accuracy is no percent between 0 and 100")
    # Shifted accuracies may all be below 1 %, as for many models on ImageNet-A.
    if x.size and x.max() <= 1:
        raise UserError(f"{where}: no clean accuracy is above 1: give percents (76.1), not fractions (0.761)")
    is_finite = has_finite_scale(x, y, transform)
    x, y = x[is_finite], y[is_finite]
    different = len(np.unique(x))
    if different < MIN_MODELS:
        raise UserError(
            f"{where}: a line needs three models or more of different clean accuracy, and of these {len(is_finite)} "
            f"models {different} can be used: name more baselines, or none for no line"
        )
    return x, y


def has_finite_scale(clean: np.ndarray, shifted: np.ndarray, transform: str) -> np.ndarray:
    """Return whether the transforms of both percents of a model, `clean` and `shifted` [M], are finite: bool [M]."""
    percents = np.column_stack([clean, shifted])
    is_inside = ((percents > 0) & (percents < 100)).all(axis=1)
    return np.asarray((transform == "linear") | is_inside)


def fit_lines(baselines: Iterable[BaselineModel], shifts: Iterable[str], transform: str = "logit") -> dict[str, Line]:
    """Fit the line of each of `shifts` that a baseline was scored on.

    Raises:
        UserError: A value is outside 0 to 100, there are fractions instead of percents, or fewer than three models
            differ in clean accuracy.
    """
    rows = list(baselines)
    lines = {}
    for shift in shifts:
        models = [model for model in rows if model.test_set == shift]
        if models:
            clean = [model.clean for model in models]
            shifted = [model.shifted for model in models]
            lines[shift] = fit_line(clean, shifted, shift, transform)
    return lines


def refit_lines(
    clean: np.ndarray, shifted: np.ndarray, weights: np.ndarray, transform: str
) -> tuple[np.ndarray, np.ndarray]:
    """Fit one line for each row of `weights` [B, M], the weights of M baselines: intercepts [B] and slopes [B].

    A row of resampling counts gives the line of this bootstrap resample; NaN if the row determines none.
    """
    used = has_finite_scale(clean, shifted, transform)
    x = to_scale(transform, clean[used] / 100)
    y = to_scale(transform, shifted[used] / 100)
    weights = np.asarray(weights, dtype=float)[:, used]
    # Center both, so that the differences of squares below lose few digits.
    center_x, center_y = x.mean(), y.mean()
    x = x - center_x
    y = y - center_y
    with np.errstate(divide="ignore", invalid="ignore"):
        total = weights.sum(axis=1)
        mean_x = weights @ x / total
        mean_y = weights @ y / total
        variance_x = weights @ (x * x) / total - mean_x**2
        covariance = weights @ (x * y) / total - mean_x * mean_y
        slopes = np.where(variance_x > 1e-12 * x.var(), covariance / variance_x, np.nan)
    intercepts = center_y + mean_y - slopes * (center_x + mean_x)
    return intercepts, slopes


def effective_robustness(line: Line, clean: np.ndarray | float, shifted: np.ndarray | float) -> np.ndarray:
    """Return `shifted` minus the prediction of `line` from `clean`, in points.

    Raises:
        ValueError: `clean` holds fractions: no value is above 1, and as percents they would be among the baselines.
    """
    best = float(np.max(clean, initial=0))
    if best <= 1 < line.lo <= 100 * best:
        raise ValueError(
            f"clean: no accuracy is above {best:g}, and the baselines have {line.lo:.1f} to {line.hi:.1f} %: "
            "give percents (76.1), not fractions (0.761)"
        )
    return np.asarray(shifted) - predict_shifted(line.slope, line.intercept, line.transform, clean)


def predict_shifted(
    slope: np.ndarray | float, intercept: np.ndarray | float, transform: str, clean: np.ndarray | float
) -> np.ndarray:
    """Return inverse(intercept + slope x transform(clean)), percent to percent; the arguments broadcast.

    A clean accuracy of 0 % or 100 % counts as one a billionth inside. On the linear scale a prediction may be outside
    0 to 100 %.
    """
    _, inverse = _find_scale(transform)
    scaled = intercept + slope * to_scale(transform, np.asarray(clean) / 100)
    return 100 * np.asarray(inverse(scaled))


def move_inside(percent: np.ndarray | float, n: int, transform: str) -> np.ndarray:
    """Return `percent` of `n` images, with 0 % and 100 % moved inside by half an image on a scale that is infinite.

    A perfect checkpoint on a small set is not infinitely far away: its prediction is the one for half an image less.
    """
    half = 0.0 if transform == "linear" else 50 / n
    return np.clip(percent, half, 100 - half)


def find_extrapolated(percents: np.ndarray, n: int, lo: float, hi: float) -> frozenset[int]:
    """Return the arms whose mean over seeds is outside the range of the baselines, `lo` to `hi`, in percent.

    The ends of the range are accuracies with errors of their own. An arm may be outside by their standard error.

    Args:
        percents: Clean accuracies [A, S].
        n: The number of images of both.
    """
    mean = percents.mean(axis=1)
    error_lo = np.sqrt(lo * (100 - lo) / n)
    error_hi = np.sqrt(hi * (100 - hi) / n)
    is_outside = (mean < lo - error_lo) | (mean > hi + error_hi)
    return frozenset(np.flatnonzero(is_outside).tolist())


def draw_lines(line: Line, bootstrap: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw slopes [B] and intercepts [B] from the sampling distribution of a `line` without its baseline models.

    For ordinary least squares with normal errors of one size, the slope and the height at the center are independent,
    with standard errors s / sqrt(Sxx) and s / sqrt(n) and n - 2 degrees of freedom. Sxx, the sum of squares of
    transformed clean accuracies, follows from R², the slope and s.

    Raises:
        UserError: The line is flat, so Sxx is unknown.
    """
    if line.residual_sd == 0:
        return np.full(bootstrap, line.slope), np.full(bootstrap, line.intercept)
    if line.slope == 0:
        raise UserError(f"the line of {line.test_set!r} is flat, so its error is unknown: give its baseline models")
    freedom = line.n - 2
    unexplained = freedom * line.residual_sd**2
    squares_x = line.r2 / (1 - line.r2) * unexplained / line.slope**2
    sd = np.sqrt(unexplained / rng.chisquare(freedom, bootstrap))
    slope = line.slope + sd / np.sqrt(squares_x) * rng.standard_normal(bootstrap)
    height = line.intercept + line.slope * line.center + sd / np.sqrt(line.n) * rng.standard_normal(bootstrap)
    return slope, height - slope * line.center
