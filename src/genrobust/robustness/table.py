"""Effective robustness of a whole table of published accuracies at once, and what makes one doubt it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genrobust.core import Line
from genrobust.robustness.effective import effective_robustness, fit_line, has_finite_scale, predict, refit_lines
from genrobust.robustness.resampling import TAILS

# The natural shifts of ImageNet have logit slopes from 0.3 (YTBB-Robust) to 3.0 (ImageNet-A above ResNet-50), and R²
# from 0.36 (ImageNet-A below it) to 1, over the standard models of the testbed (Taori et al., 2020).
STEEPEST = 4.0
WEAKEST_R2 = 0.2
EXAMPLES = 3  # models that a doubt names
UNIT_GAP = 10  # accuracies of models that are this far apart, one of them below 1 %, are hardly of the same unit
RESAMPLES = 1000  # of the baselines


@dataclass(frozen=True, slots=True)
class Published:
    """The M models of a published table that have both accuracies.

    Attributes:
        clean: Percents [M], from the column `id_column`.
        shifted: Percents [M], from the column `shift`.
        notes: What was left out.
        files: The paths that they were read from.
    """

    names: tuple[str, ...]
    clean: np.ndarray
    shifted: np.ndarray
    id_column: str
    shift: str
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PublishedScores:
    """The effective robustness of M `models` against a `line`, in points.

    Attributes:
        er: [M], with its interval over the baselines from `lo` to `hi`.
        extrapolated: Which models have an ID accuracy outside those that the line was fitted on: bool [M].
        left_out: The baselines that the line was not fitted on, by reason.
        doubts: What suggests that the columns were swapped or have nothing to do with each other, as sentences.
    """

    models: Published
    line: Line
    er: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    extrapolated: np.ndarray
    left_out: dict[str, tuple[str, ...]]
    doubts: tuple[str, ...]


def score_published(
    models: Published,
    baselines: np.ndarray,
    transform: str = "logit",
    min_id: float = 0,
) -> PublishedScores:
    """Score every model of a table against the line of its baselines.

    Args:
        baselines: Which models are baselines, bool [M]. Those below `min_id` percent, at 0 % or 100 % where these have
            no finite transform, and all but the first of `copies` are scored and left out of the line.
        transform: The scale of the line: "logit", "probit" or "linear".
        min_id: The least ID accuracy of a baseline, in percent.

    Raises:
        UserError: Fewer than three baselines.
    """
    names, clean, shifted = models.names, models.clean, models.shifted
    chosen, left_out = baselines, {}
    for reason, out in (
        (f"ID accuracy below {min_id:g} %", clean < min_id),
        (f"0 % or 100 % has no finite {transform}", ~has_finite_scale(clean, shifted, transform)),
    ):
        if (chosen & out).any():
            left_out[reason] = tuple(names[i] for i in np.flatnonzero(chosen & out))
        chosen = chosen & ~out
    rows = np.flatnonzero(chosen)
    if len(twins := rows[copies(np.column_stack([clean, shifted])[rows])]):
        left_out["all accuracies are those of another one"] = tuple(names[i] for i in twins)
        chosen = chosen & ~np.isin(np.arange(len(names)), twins)
    line = fit_line(clean[chosen], shifted[chosen], models.shift, transform)
    er, (lo, hi) = effective_robustness(line, clean, shifted), _interval(models, chosen, transform)
    extrapolated = (clean < line.lo) | (clean > line.hi)
    return PublishedScores(models, line, er, lo, hi, extrapolated, left_out, doubts_of(models, line))


def _interval(models: Published, baselines: np.ndarray, transform: str) -> np.ndarray:
    """The 95 % percentile bootstrap interval of each model, in points, over the baselines alone: [2, M].

    The baselines are resampled with replacement, the same for all models. How uncertain the accuracies themselves are
    is not in it; `summarize` adds that.
    """
    n = int(baselines.sum())
    counts = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    fits = np.stack(refit_lines(models.clean[baselines], models.shifted[baselines], counts, transform))
    intercept, slope = fits[:, ~np.isnan(fits).any(axis=0), None]
    return np.percentile(models.shifted - predict(slope, intercept, transform, models.clean), TAILS, axis=0)


def copies(accuracies: np.ndarray) -> np.ndarray:
    """Return which models, rows of `accuracies` [M, D], have all those of an earlier one: bool [M].

    They are one model under several names, which would weigh as much as so many different ones.
    """
    _, first = np.unique(accuracies, axis=0, return_index=True)
    return ~np.isin(np.arange(len(accuracies)), first)


def doubts_of(models: Published, line: Line) -> tuple[str, ...]:
    """Say what suggests mixed units, or columns that were swapped or have nothing to do with each other."""
    clean, shifted = models.clean, models.shifted
    columns = ((models.id_column, clean), (models.shift, shifted))
    doubts = [doubt for name, percents in columns if (doubt := _mixed_units(models.names, name, percents))]
    if shifted.max(initial=0) <= 1 < clean.max(initial=0):
        doubts.append(f"no accuracy in {models.shift!r} is above 1, as it is on the ID set: fractions beside percents?")
    above = int((shifted > clean).sum())
    if 2 * above > len(clean):
        doubts.append(
            f"{above:,} of {len(clean):,} models are more accurate on the shifted set than on the ID set: "
            "the two columns may be swapped"
        )
    wrong = [] if 0 <= line.slope <= STEEPEST else [f"its slope is {line.slope:.2f}, where 0 to {STEEPEST:g} is usual"]
    wrong += [] if line.r2 >= WEAKEST_R2 else [f"its R² is {line.r2:.2f}, below {WEAKEST_R2:g}"]
    if wrong:
        doubts.append(f"the line says little: {' and '.join(wrong)}; the two columns may be swapped or unrelated")
    return tuple(doubts)


def _mixed_units(names: Sequence[str], column: str, percents: np.ndarray) -> str:
    """Return why some accuracies of a column seem to be fractions: a gap between those up to 1 and all others."""
    is_small, large = (percents > 0) & (percents <= 1), percents[percents > 1]
    if not is_small.any() or not len(large) or large.min() < UNIT_GAP * percents[is_small].max():
        return ""
    small = [f"{percents[i]:g} of {names[i]}" for i in np.flatnonzero(is_small).tolist()]
    return (
        f"{len(small):,} of {len(percents):,} accuracies in {column!r} are at most 1 ({', '.join(small[:EXAMPLES])}"
        f"{' ...' * (len(small) > EXAMPLES)}) and all others at least {large.min():g}: fractions among percents?"
    )
