"""The section on accuracy: every arm on every test set."""

from __future__ import annotations

from genrobust.report.nouns import Plot, ReportSection
from genrobust.report.plots import lanes
from genrobust.report.view import SECTIONS, ReportView

# SVG units: the heights of an arm, of the name of a test set, of what is below it, and of the ticks.
LANE, NAME, GAP, AXIS = 14, 16, 14, 20
WIDTH = 640  # of the file


@SECTIONS.register("accuracy")
def accuracy(view: ReportView) -> ReportSection:
    """Return the top-1 accuracies, as a plot and a table."""
    table = view.tables["top1"]
    drawn = lanes(view.summary, view.pictured, [column.name for column in table.columns])
    box = {"left": 8, "right": WIDTH - 12, "width": WIDTH, "top": NAME, "lane": LANE}
    box |= {"bottom": NAME + LANE * len(view.pictured) + GAP}
    plot = Plot(
        "accuracy",
        "accuracy",
        [(AXIS, (drawn,)), *((box["bottom"], (drawn, column, view.looks, box)) for column in table.columns)],
        box,
        view.legend,
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
    dots = f" On {sets}, small dots are the groups of images." if (sets := ", ".join(view.summary.by_group)) else ""
    return (
        "Top-1 in percent, with 95 % intervals. Dashed: guessing, or always naming the commonest class where that "
        f"reaches more.{dots}{view.pictured_note}"
    )


def _note(view: ReportView) -> str:
    among = " among the rows without ‡ or §" if view.marks and view.names.keys() & view.names.values() else ""
    best = f"Bold marks the best value of a column{among}, in all tables; it may be best by chance.{view.dagger}"
    return f"{best} {view.marks}".rstrip()
