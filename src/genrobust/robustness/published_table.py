"""Effective robustness of a table of published accuracies, and reasons to doubt the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genrobust.core import Line
from genrobust.robustness.baseline_lines import (
    effective_robustness,
    fit_line,
    has_finite_scale,
    predict_shifted,
    refit_lines,
)
from genrobust.robustness.measured import TAILS

# The natural shifts of ImageNet have logit slopes from 0.3 (YTBB-Robust) to 3.0 (ImageNet-A above ResNet-50), and R²
# from 0.36 (ImageNet-A below it) to 1, over the standard models of the testbed (Taori et al., 2020).
STEEPEST = 4.0
WEAKEST_R2 = 0.2
# Models that a doubt names.
EXAMPLES = 3
# If one of two accuracies is below 1 % and the other is this many times larger, they hardly have the same unit.
UNIT_GAP = 10
# Resamples of the baselines.
RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Published:
    """The M models of a published table that have both accuracies.

    Attributes:
        names: The models.
        clean: Percents [M], from the column `id_column`.
        shifted: Percents [M], from the column `shift`.
        notes: The rows and models that were left out, in words.
        files: The paths of the table.
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
        er: Effective robustness [M].
        lo: The lower ends of its intervals over the baselines, [M].
        hi: The upper ends, [M].
        extrapolated: Whether a model's ID accuracy is outside the range that the line was fitted on: bool [M].
        left_out: The baselines that the line was not fitted on, by reason.
        doubts: Signs that the columns were swapped or are unrelated, as sentences.
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

    The line leaves out baselines below `min_id`, baselines at 0 % or 100 % if these have no finite transform, and
    repeated models. They are scored like all others.

    Args:
        baselines: Whether a model is a baseline, bool [M].
        transform: The scale of the line: "logit", "probit" or "linear".
        min_id: The lowest ID accuracy of a baseline, in percent.

    Raises:
        UserError: Fewer than three baselines.
    """
    clean, shifted = models.clean, models.shifted
    left_out: dict[str, tuple[str, ...]] = {}

    def leave_out(reason: str, chosen: np.ndarray, is_out: np.ndarray) -> np.ndarray:
        """Return `chosen` without the models that are out, which are noted by their names."""
        names = [models.names[i] for i in np.flatnonzero(chosen & is_out)]
        if names:
            left_out[reason] = tuple(names)
        return chosen & ~is_out

    is_infinite = ~has_finite_scale(clean, shifted, transform)
    chosen = leave_out(f"ID accuracy below {min_id:g} %", baselines, clean < min_id)
    chosen = leave_out(f"0 % or 100 % has no finite {transform}", chosen, is_infinite)
    # Compare only the remaining baselines: a model that was left out is not in the line.
    is_repeated = np.zeros(len(models.names), dtype=bool)
    is_repeated[chosen] = find_repeated(np.column_stack([clean, shifted])[chosen])
    chosen = leave_out("same accuracies as another baseline", chosen, is_repeated)
    line = fit_line(clean[chosen], shifted[chosen], models.shift, transform)
    lo, hi = _interval(models, chosen, transform)
    return PublishedScores(
        models=models,
        line=line,
        er=effective_robustness(line, clean, shifted),
        lo=lo,
        hi=hi,
        extrapolated=(clean < line.lo) | (clean > line.hi),
        left_out=left_out,
        doubts=find_doubts(models, line),
    )


def _interval(models: Published, baselines: np.ndarray, transform: str) -> np.ndarray:
    """Return the 95 % percentile bootstrap interval of each model over the baselines alone, in points: [2, M].

    The baselines are resampled with replacement, the same for all models. The errors of the accuracies themselves are
    not in it; `summarize` adds them.
    """
    n = int(baselines.sum())
    counts = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    intercepts, slopes = refit_lines(models.clean[baselines], models.shifted[baselines], counts, transform)
    is_line = ~np.isnan(slopes)
    expected = predict_shifted(slopes[is_line, None], intercepts[is_line, None], transform, models.clean)
    return np.percentile(models.shifted - expected, TAILS, axis=0)


def find_repeated(accuracies: np.ndarray) -> np.ndarray:
    """Return whether a model, a row of `accuracies` [M, D], has all accuracies of an earlier one: bool [M].

    These are one model under several names, which would weigh as much as several different ones.
    """
    _, first = np.unique(accuracies, axis=0, return_index=True)
    return ~np.isin(np.arange(len(accuracies)), first)


def find_doubts(models: Published, line: Line) -> tuple[str, ...]:
    """Return signs of mixed units, or of columns that were swapped or are unrelated, as sentences."""
    clean, shifted = models.clean, models.shifted
    doubts = []
    for column, percents in ((models.id_column, clean), (models.shift, shifted)):
        doubt = _mixed_units(models.names, column, percents)
        if doubt:
            doubts.append(doubt)
    if shifted.max(initial=0) <= 1 < clean.max(initial=0):
        doubts.append(
            f"no accuracy in {models.shift!r} is above 1, and some on the ID set are: fractions instead of percents?"
        )
    above = int((shifted > clean).sum())
    if 2 * above > len(clean):
        doubts.append(
            f"{above:,} of {len(clean):,} models are more accurate on the shifted set than on the ID set: "
            "the two columns may be swapped"
        )
    signs = []
    if not 0 <= line.slope <= STEEPEST:
        signs.append(f"its slope is {line.slope:.2f}, usual are 0 to {STEEPEST:g}")
    if line.r2 < WEAKEST_R2:
        signs.append(f"its R² is {line.r2:.2f}, below {WEAKEST_R2:g}")
    if signs:
        doubts.append(f"the line says little: {' and '.join(signs)}; the two columns may be swapped or unrelated")
    return tuple(doubts)


def _mixed_units(names: Sequence[str], column: str, percents: np.ndarray) -> str:
    """Return the sign that some accuracies of a column are fractions: a gap between those up to 1 and all others."""
    is_small = (percents > 0) & (percents <= 1)
    large = percents[percents > 1]
    if not is_small.any() or not len(large) or large.min() < UNIT_GAP * percents[is_small].max():
        return ""
    small = [f"{percents[i]:g} of {names[i]}" for i in np.flatnonzero(is_small).tolist()]
    examples = ", ".join(small[:EXAMPLES])
    if len(small) > EXAMPLES:
        examples += " ..."
    return (
        f"{len(small):,} of {len(percents):,} accuracies in {column!r} are at most 1 ({examples}) and all others at "
        f"least {large.min():g}: fractions among percents?"
    )
