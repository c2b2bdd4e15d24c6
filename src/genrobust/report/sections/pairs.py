"""The section on any two arms: a matrix of the leading figure, and what the page's script needs for each pair."""

from __future__ import annotations

import json
from dataclasses import dataclass

from genrobust.core import MEAN_OF_SHIFTS, Score, Summary
from genrobust.report.nouns import PAGES, Column, Entry, ReportSection, Table, template_beside
from genrobust.report.tables import difference_entry
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import is_wide
from genrobust.robustness import figure_called

OPEN_ARMS = 12  # rows of a matrix that is shown before one asks for it


@dataclass(frozen=True, slots=True)
class Pairs:
    """The differences in top-1 accuracy between any two arms.

    `matrix` has a row and a column an arm: row minus column, on `test_set`. `data` is JSON: "arms", "tests" (each with
    a name and a note), and "pairs", which maps "i,j" (indices of arms) to [value, lo, hi] or null by test set.
    """

    test_set: str
    matrix: Table
    data: str
    is_expanded: bool


@SECTIONS.register("pairs")
def any_two_arms(view: ReportView) -> ReportSection | None:
    """Return the differences between any two arms, or groups, in top-1 accuracy; None for fewer than three."""
    found = pairs(view.overview)
    if found is None:
        return None
    return ReportSection(
        title="Any two arms",
        order=60,
        lead="Row minus column, paired by image and seed, in points of top-1 accuracy. Gray where the interval "
        "includes zero.",
        tables=[found.matrix] if found.is_expanded else [],
        template=template_beside(__file__),
        values={"pairs": found},
        forms=PAGES,
    )


def pairs(summary: Summary) -> Pairs | None:
    """Return the differences between any two of three or more arms; None for fewer, or where they were not measured."""
    arms, figure = summary.arms, figure_called("top1")
    leading = MEAN_OF_SHIFTS if summary.shifts else summary.clean
    differences = {(arm, other): summary.difference("top1", arm, other, leading) for arm in arms for other in arms}
    if len(arms) < 3 or not any(differences.values()):
        return None
    rows = tuple(
        (
            arm,
            tuple(
                Entry(None, "") if arm == other else difference_entry(differences[arm, other], figure) for other in arms
            ),
        )
        for arm in arms
    )
    columns = tuple(Column(arm, "", "pair") for arm in arms)
    caption = f"Top-1 accuracy, {leading}: row minus column, points"
    return Pairs(leading, Table(columns, rows, caption), _data(summary, leading), len(arms) <= OPEN_ARMS)


def _data(summary: Summary, leading: str) -> str:
    sets = dict.fromkeys([leading, *summary.tests])
    scores = {
        f"{i},{j}": [_numbers(summary.difference("top1", arm, other, test)) for test in sets]
        for i, arm in enumerate(summary.arms)
        for j, other in enumerate(summary.arms)
        if i < j
    }
    tests = [f"{name}{' †' if name in summary.left_out else ''}" for name in sets]
    return json.dumps({"arms": summary.arms, "tests": tests, "pairs": scores}, separators=(",", ":"))


def _numbers(score: Score | None) -> list[float] | None:
    known = score is not None and not is_wide(score)
    return [round(value, 5) for value in (score.value, score.lo, score.hi)] if score and known else None
