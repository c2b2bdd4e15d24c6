"""Effective robustness: shifted accuracy beyond what the baseline line predicts from clean accuracy.

Taori et al. (2020), "Measuring Robustness to Natural Distribution Shifts in Image Classification", section 2. All
accuracies here are in percent and all differences in points; they are transformed as fractions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri

from genrobust.core import BaselineModel, Line, UserError

SCALES = {"logit": (logit, expit), "probit": (ndtri, ndtr), "linear": (np.asarray, np.asarray)}  # with inverses
Percents = Sequence[float] | np.ndarray


def to_scale(transform: str, fraction: np.ndarray | float) -> np.ndarray:
    """Put fractions in [0, 1] on the scale `transform`: "logit", "probit" or "linear".

    0 and 1 are infinite on the first two, so they are moved in by 1e-9, far less than one image of any test set.

    Raises:
        UserError: There is no such scale.
        ValueError: A fraction lies outside of [0, 1], such as a percent.
    """
    values = np.asarray(fraction)
    if (wrong := values[(values < 0) | (values > 1)]).size:
        raise ValueError(f"fraction: {wrong[0]:g} is not between 0 and 1: divide percents by 100")
    return np.asarray(_scale(transform)[0](np.clip(values, 1e-9, 1 - 1e-9)))


def _scale(transform: str) -> tuple:
    try:
        return SCALES[transform]
    except KeyError:
        raise UserError(f"transform: {transform!r} is none of {', '.join(SCALES)}") from None


def fit_line(clean: Percents, shifted: Percents, test_set: str, transform: str = "logit") -> Line:
    """Fit the baseline line of `test_set`: ordinary least squares of transformed shifted on transformed clean accuracy.

    `clean` and `shifted` are percents [M], one entry a standard model. The testbed of Taori et al. gives every model
    the same weight and transforms raw accuracies; so does this. A model at exactly 0 % or 100 % has no finite logit or
    probit and is left out there (`n` counts those used) rather than clipped, since a clipped point lies infinitely far
    from where it belongs and would tilt the line.

    Raises:
        UserError: Values outside 0 to 100, fractions in place of percents, or fewer than three models of different
            clean accuracy.
    """
    used_clean, used_shifted = _usable(clean, shifted, test_set, transform)
    x, y = to_scale(transform, used_clean / 100), to_scale(transform, used_shifted / 100)
    slope, intercept = np.polyfit(x, y, 1)  # as scipy.stats.linregress, whose import alone takes half a second
    unexplained = float(((y - intercept - slope * x) ** 2).sum())
    return Line(
        test_set=test_set,
        transform=transform,
        slope=float(slope),
        intercept=float(intercept),
        r2=1 - unexplained / float(((y - y.mean()) ** 2).sum()) if np.ptp(y) else 0.0,
        n=len(x),
        residual_sd=float(np.sqrt(unexplained / (len(x) - 2))),
        lo=float(used_clean.min()),
        hi=float(used_clean.max()),
        center=float(x.mean()),
    )


def fit_lines(baselines: Iterable[BaselineModel], shifts: Iterable[str], transform: str = "logit") -> dict[str, Line]:
    """Fit the line of each of `shifts` that a baseline was scored on.

    Raises:
        UserError: A value is outside 0 to 100, fractions stand in place of percents, or fewer than three models differ
            in clean accuracy.
    """
    rows = list(baselines)
    lines = {}
    for shift in shifts:
        of_shift = [b for b in rows if b.test_set == shift]
        if of_shift:
            clean, shifted = [b.clean for b in of_shift], [b.shifted for b in of_shift]
            lines[shift] = fit_line(clean, shifted, shift, transform)
    return lines


def refit_lines(
    clean: np.ndarray, shifted: np.ndarray, weights: np.ndarray, transform: str
) -> tuple[np.ndarray, np.ndarray]:
    """Fit the line with its M baselines weighted by each row of `weights` [B, M]: intercepts [B] and slopes [B].

    A row of resampling counts gives the line of that bootstrap resample; NaN where it determines none.
    """
    used = has_finite_scale(clean, shifted, transform)
    x, y = to_scale(transform, clean[used] / 100), to_scale(transform, shifted[used] / 100)
    center, level = x.mean(), y.mean()  # so that little is lost in the differences below
    x, y, weights = x - center, y - level, np.asarray(weights, dtype=float)[:, used]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_x, mean_y, squares, products = (weights @ v / weights.sum(axis=1) for v in (x, y, x * x, x * y))
        spread = squares - mean_x**2
        slopes = np.where(spread > 1e-12 * x.var(), (products - mean_x * mean_y) / spread, np.nan)
    return level + mean_y - slopes * (center + mean_x), slopes


def effective_robustness(line: Line, clean: np.ndarray | float, shifted: np.ndarray | float) -> np.ndarray:
    """Return `shifted` minus what `line` predicts from `clean`, in points.

    Raises:
        ValueError: `clean` holds fractions: no value is above 1, and in percent they would be among the baselines.
    """
    best = float(np.max(clean, initial=0))
    if best <= 1 < line.lo <= 100 * best:
        raise ValueError(
            f"clean: no accuracy is above {best:g}, and those of the baselines are {line.lo:.1f} to {line.hi:.1f} %: "
            "give percents (76.1), not fractions (0.761)"
        )
    return np.asarray(shifted) - predict(line.slope, line.intercept, line.transform, clean)


def predict(
    slope: np.ndarray | float, intercept: np.ndarray | float, transform: str, clean: np.ndarray | float
) -> np.ndarray:
    """Return inverse(intercept + slope x transform(clean)), percent to percent; the arguments broadcast.

    A clean accuracy of 0 % or 100 % counts as one a billionth away. On the linear scale a prediction may leave 0 to
    100 %.
    """
    scaled = intercept + slope * to_scale(transform, np.asarray(clean) / 100)
    return 100 * np.asarray(_scale(transform)[1](scaled))


def moved_in(percent: np.ndarray | float, n: int, transform: str) -> np.ndarray:
    """Return `percent` of `n` images, 0 % and 100 % moved in by half an image where they have no finite transform.

    A perfect checkpoint on a small set is not infinitely far on the scale: it is expected where half an image more or
    less would have put it.
    """
    half = 0.0 if transform == "linear" else 50 / n
    return np.clip(percent, half, 100 - half)


def arms_outside(percents: np.ndarray, n: int, least: float, most: float) -> frozenset[int]:
    """Return the arms that lie, with `percents` [A, S] of `n` images, outside `least` to `most`.

    It is the mean of their seeds that counts. The accuracies at both ends were measured on as many images: an arm that
    lies no further off than their standard error may be no better than these models.
    """
    mean = percents.mean(axis=1)
    errors = [np.sqrt(end * (100 - end) / n) for end in (least, most)]
    return frozenset(np.flatnonzero((mean < least - errors[0]) | (mean > most + errors[1])).tolist())


def drawn_lines(line: Line, bootstrap: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw slopes [B] and intercepts [B] that `line` may as well have had, without its baselines: from its own numbers.

    The sampling distribution of ordinary least squares with normal errors of one size: slope and height at the center
    are independent, with standard errors s / sqrt(Sxx) and s / sqrt(n) and n - 2 degrees of freedom. Sxx, the sum of
    squares of transformed clean accuracies, is what makes R² of the slope and s.

    Raises:
        UserError: The line is flat.
    """
    if line.residual_sd == 0:
        return np.full(bootstrap, line.slope), np.full(bootstrap, line.intercept)
    if line.slope == 0:
        raise UserError(f"the line of {line.test_set!r} is flat, so that it says not how sure it is: give its models")
    freedom = line.n - 2
    unexplained = freedom * line.residual_sd**2
    squares = line.r2 / (1 - line.r2) * unexplained / line.slope**2
    sd = np.sqrt(unexplained / rng.chisquare(freedom, bootstrap))
    slope = line.slope + sd / np.sqrt(squares) * rng.standard_normal(bootstrap)
    height = line.intercept + line.slope * line.center + sd / np.sqrt(line.n) * rng.standard_normal(bootstrap)
    return slope, height - slope * line.center


def _usable(clean: Percents, shifted: Percents, test_set: str, transform: str) -> tuple[np.ndarray, np.ndarray]:
    """The percents of the models that a line can be fitted on; raises UserError where those are too few or wrong."""
    x, y = np.asarray(clean, dtype=float), np.asarray(shifted, dtype=float)
    where = f"baselines of {test_set!r}"
    if x.shape != y.shape or x.ndim != 1:
        raise UserError(f"{where}: {x.shape} clean accuracies and {y.shape} shifted ones do not pair up")
    if not all(((percents >= 0) & (percents <= 100)).all() for percents in (x, y)):
        raise UserError(f"{where}: an accuracy is no percent between 0 and 100")
    if x.size and x.max() <= 1:  # shifted ones may all be below 1 %, as those of many models on ImageNet-A are
        raise UserError(f"{where}: no clean accuracy is above 1: give percents (76.1), not fractions (0.761)")
    used = has_finite_scale(x, y, transform)
    x, y = x[used], y[used]
    if len(np.unique(x)) < 3:
        raise UserError(
            f"{where}: a line takes three models or more of different clean accuracy, and of these {len(used)} models "
            f"{len(np.unique(x))} will do: name more baselines, or none for no line"
        )
    return x, y


def has_finite_scale(ids: np.ndarray, shifted: np.ndarray, transform: str) -> np.ndarray:
    """Return for which models the transform of all percents, `ids` and `shifted` [M], is finite: [M]."""
    percents = np.column_stack([ids, shifted])
    return np.asarray((transform == "linear") | ((percents > 0) & (percents < 100)).all(axis=1))
