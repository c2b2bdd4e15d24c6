"""What effective robustness gains under other lines: of another scale, or of fewer baseline models or shifts."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING

from genrobust.core import BaselineModel
from genrobust.robustness import EXPLAINED, fit_lines
from genrobust.robustness.effective import effective_robustness, from_scale, to_scale
from genrobust.study.results.baselines import table_rows

if TYPE_CHECKING:
    from prose import Result


def refits(study: Result, arms: Sequence[str], minus: str, without: str, kind: str, words: str) -> str:
    """Return the gains of `arms` over `minus` in mean effective robustness under several lines, as a Markdown table.

    The lines are those of the study, on a linear scale, without the models whose architecture begins with `kind`,
    called `words`, and both; each over all shifts that count in the study's mean, and over all but `without`. Point
    estimates.
    """
    shifts = [name for name in study.told["shifts"] if study.told["lines"][name]["r2"] >= EXPLAINED]
    models, _ = table_rows("pictograms", shifts, "logit")
    clean = clean_accuracies(study, [*arms, minus], shifts, models)
    fewer = [model for model in models if not model.architecture.startswith(kind)]
    heads = ["lines", f"R² on `{without}`", "shifts", *(f"{arm} over {minus}" for arm in arms)]
    rows = [heads, ["---"] * len(heads)]
    for way, of, scale in (
        ("as above", models, "logit"),
        ("on a linear scale", models, "linear"),
        (f"without {words}", fewer, "logit"),
        (f"on a linear scale, without {words}", fewer, "linear"),
    ):
        lines = fit_lines(of, shifts, scale)
        for over in (shifts, [name for name in shifts if name != without]):
            er = {
                arm: mean(
                    float(effective_robustness(lines[shift], clean[arm, shift], study.score(arm, shift)["value"]))
                    for shift in over
                )
                for arm in (*arms, minus)
            }
            which = f"all {len(shifts)}" if over is shifts else f"without `{without}`"
            rows.append([way, f"{lines[without].r2:.2f}", which, *(f"{er[arm] - er[minus]:+.1f}" for arm in arms)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def clean_accuracies(
    study: Result, arms: Sequence[str], shifts: Sequence[str], models: Sequence[BaselineModel]
) -> dict[tuple[str, str], float]:
    """The clean accuracy of each arm on the classes of each shift, in percent, from its effective robustness there."""
    found = {}
    for shift, line in fit_lines(models, shifts).items():
        for arm in arms:
            predicted = study.score(arm, shift)["value"] - study.score(arm, shift, "er")["value"]
            at = (float(to_scale("logit", predicted / 100)) - line.intercept) / line.slope
            found[arm, shift] = 100 * float(from_scale("logit", at))
    return found
