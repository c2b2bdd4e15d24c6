"""The section on accuracy: every arm on every test set."""

from __future__ import annotations

from genrobust.report.accuracy_lanes import lanes
from genrobust.report.report_section import Plot, ReportSection
from genrobust.report.report_view import SECTIONS, ReportView

# Heights in SVG units: of an arm, of the name of a test set, of the space below it, and of the ticks.
LANE, NAME, GAP, AXIS = 14, 16, 14, 20
# The width of the file, in SVG units.
WIDTH = 640


@SECTIONS.register("accuracy")
def accuracy(view: ReportView) -> ReportSection:
    """Return the top-1 accuracies, as a plot and a table."""
    table = view.tables["top1"]
    drawn = lanes(view.summary, view.pictured, [column.name for column in table.columns])
    bottom = NAME + LANE * len(view.pictured) + GAP
    box = {"left": 8, "right": WIDTH - 12, "width": WIDTH, "top": NAME, "lane": LANE, "bottom": bottom}
    axis = (AXIS, (drawn,))
    test_sets = [(bottom, (drawn, column, view.looks, box)) for column in table.columns]
    plot = Plot(
        title="accuracy",
        macro="accuracy",
        parts=[axis, *test_sets],
        box=box,
        legend=view.legend,
        note=table.caption,
        description="Accuracy on every test set; the table below holds the same numbers",
        heading=table.caption,
        stretches=True,
    )
    return ReportSection(
        title="Accuracy",
        order=20,
        lead=_lead(view),
        tables=[table],
        plots=[plot],
        note=_note(view),
    )


def _lead(view: ReportView) -> str:
    sets = ", ".join(view.summary.by_group)
    dots = f" On {sets}, small dots are the groups of images." if sets else ""
    return (
        "Top-1 in percent, with 95 % intervals. Dashed line: guessing, or always predicting the most frequent class if "
        f"that is right more often.{dots}{view.pictured_note}"
    )


def _note(view: ReportView) -> str:
    # A row without a mark has its own name.
    has_unmarked = view.names.keys() & view.names.values()
    if view.marks and has_unmarked:
        among = " among the rows without ‡ or §"
    else:
        among = ""
    best = f"Bold marks the best value of a column{among}, in all tables; it may be best by chance.{view.dagger}"
    return f"{best} {view.marks}".rstrip()
