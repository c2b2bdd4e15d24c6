"""The section on accuracy: every arm on every test set."""

from __future__ import annotations

from genrobust.report.nouns import CHARACTER, PAGES, Plot, ReportSection
from genrobust.report.plots import dot_plot
from genrobust.report.view import SECTIONS, ReportView

# SVG units: the height of an arm, what is between test sets, the place of the first one, and the length of the axis.
LANE, GAP, TOP, TRACK = 12, 16, 24, 360


@SECTIONS.register("accuracy")
def accuracy(view: ReportView) -> ReportSection:
    """Return the top-1 accuracies, as a plot and a table."""
    table = view.tables["top1"]
    dots = dot_plot(view.summary, table)
    names = [max(column.name, column.note, key=len) for column in table.columns]
    left, row = round(CHARACTER * max(map(len, names))) + GAP, max(LANE * len(view.summary.arms), 2 * LANE) + GAP
    bottom = TOP + row * len(names)
    box = {"left": left, "right": left + TRACK, "width": left + TRACK + GAP, "top": TOP, "row": row}
    box |= {"bottom": bottom, "height": bottom}
    return ReportSection(
        title="Accuracy",
        order=20,
        lead="Top-1 in percent, with 95 % intervals. Dashed: guessing.",
        tables=[table],
        plots=[Plot("accuracy", "accuracy", (dots, view.looks, box), box, view.legend, table.caption, table.caption)],
        note=_note(view),
        forms=PAGES,
    )


def _note(view: ReportView) -> str:
    notes = []
    if sets := ", ".join(view.summary.by_group):
        notes.append(f"On {sets} the small dots are the groups of images; the table has their range as the interval.")
    among = " among the rows without ‡ or §" if view.marks and view.names.keys() & view.names.values() else ""
    notes.append(
        f"Bold, here and in all tables, marks the best value of a column{among}, not a proven difference; gray marks a "
        f"difference that may be chance.{view.dagger}"
    )
    return " ".join([*notes, view.marks]).rstrip()
