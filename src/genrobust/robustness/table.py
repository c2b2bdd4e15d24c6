"""Effective robustness of a whole table of models at once, and what makes one doubt it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genrobust.core import BaselineModel, Line, Plane, UserError
from genrobust.robustness.resampling import TAILS
from genrobust.robustness.effective import effective_robustness, er_interval, extrapolated, finite, fit_line
from genrobust.robustness.multi_id import beyond_plane, fit_plane, plane_predict, plane_robustness, refit_planes

# The natural shifts of ImageNet have logit slopes from 0.3 (YTBB-Robust) to 3.0 (ImageNet-A above ResNet-50), and R²
# from 0.36 (ImageNet-A below it) to 1, over the standard models of the testbed (Taori et al., 2020).
STEEPEST = 4.0
WEAKEST_R2 = 0.2


@dataclass(frozen=True, slots=True)
class TableScores:
    """The effective robustness of M models, in points: `er` float [M], with its interval over baselines `lo` to `hi`.

    `extrapolated` bool [M] says who has an ID accuracy outside those that its line was fitted on. `lines` holds one
    line, or the one below the pivot and the one above it; over several ID sets there is a `plane` in its place.
    """

    lines: tuple[Line, ...]
    er: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    extrapolated: np.ndarray
    plane: Plane | None = None


def score_table(
    baselines: Sequence[BaselineModel],
    clean: np.ndarray,
    shifted: np.ndarray,
    transform: str = "logit",
    pivot: float | None = None,
) -> TableScores:
    """Fit the line on `baselines`, of one shift, and score the models with `clean` and `shifted` (percents [M]).

    `pivot` is for a set that was filtered against one model, as ImageNet-A was against a ResNet-50: accuracies bend at
    that model's clean accuracy (percent), so Taori et al. (2020) fit one line to the baselines below it and another to
    those above; those at it, the model itself first of all, are in neither. A model up to it is scored by the first.

    Raises UserError where a line has fewer than three baselines of different clean accuracy.
    """
    parts = [("", list(baselines), np.ones(len(clean), dtype=bool))]
    if pivot is not None:
        parts = [
            (f" below the pivot, {pivot:.2f} %", [b for b in baselines if b.clean < pivot], clean <= pivot),
            (f" above the pivot, {pivot:.2f} %", [b for b in baselines if b.clean > pivot], clean > pivot),
        ]
    er, lo, hi = (np.empty(len(clean)) for _ in range(3))
    outside = np.empty(len(clean), dtype=bool)
    lines = []
    for place, rows, own in parts:
        line = _line(rows, transform, place)
        er[own] = effective_robustness(line, clean[own], shifted[own])
        lo[own], hi[own] = er_interval(rows, clean[own], shifted[own], transform)
        outside[own] = [extrapolated(line, value) for value in clean[own]]
        lines.append(line)
    return TableScores(tuple(lines), er, lo, hi, outside)


def score_table_over(
    ids: np.ndarray,
    shifted: np.ndarray,
    baselines: np.ndarray,
    test_set: str,
    id_sets: Sequence[str],
    transform: str = "logit",
    bootstrap: int = 1000,
) -> TableScores:
    """Multi-ID effective robustness: fit the plane on the models in `baselines`, bool [M], and score all of them.

    `ids` are percents [M, D] on `id_sets`, `shifted` percents [M] on `test_set`. The interval is as in `er_interval`.
    Raises what `fit_plane` raises.
    """
    plane = fit_plane(ids[baselines], shifted[baselines], test_set, id_sets, transform)
    count = int(baselines.sum())
    weights = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=bootstrap)
    fits = refit_planes(ids[baselines], shifted[baselines], weights, transform)
    drawn = plane_predict(fits[~np.isnan(fits).any(axis=1), None], transform, ids)  # [B, models]
    lo, hi = np.percentile(shifted - drawn, TAILS, axis=0)
    return TableScores((), plane_robustness(plane, ids, shifted), lo, hi, beyond_plane(plane, ids), plane)


def doubts(scores: TableScores, clean: np.ndarray, shifted: np.ndarray) -> list[str]:
    """What suggests that the columns were swapped or have nothing to do with each other, as sentences; often none.

    `clean` and `shifted` are the percents [M] that `scores` are of.
    """
    found = []
    above = int((shifted > clean).sum())
    if 2 * above > len(clean):
        found.append(
            f"{above:,} of {len(clean):,} models are more accurate on the shifted set than on the ID set: "
            "the two columns may be swapped"
        )
    for line in scores.lines:
        wrong = []
        if not 0 <= line.slope <= STEEPEST:
            wrong.append(f"its slope is {line.slope:.2f}, where 0 to {STEEPEST:g} is usual")
        if not line.r2 >= WEAKEST_R2:
            wrong.append(f"its R² is {line.r2:.2f}, below {WEAKEST_R2:g}")
        if wrong:
            found.append(
                f"the line over ID accuracies {line.lo:.1f} to {line.hi:.1f} % says little: {' and '.join(wrong)}; "
                "the two columns may be swapped or unrelated"
            )
    return found


def _line(rows: Sequence[BaselineModel], transform: str, place: str) -> Line:
    clean, shifted = np.array([b.clean for b in rows]), np.array([b.shifted for b in rows])
    different = len(np.unique(clean[finite(clean, shifted, transform)]))
    if different < 3:
        raise UserError(
            f"too few baselines{place}: a line takes three or more of different ID accuracy, and there are "
            f"{different}; name more of them, or lower the ID accuracy that they must have"
        )
    return fit_line(clean, shifted, rows[0].test_set, transform)
