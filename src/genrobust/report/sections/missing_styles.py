"""The section on cells, classes in a style: accuracy on cells with and without training images."""

from __future__ import annotations

from genrobust.core import Cells, Summary, count, some_of
from genrobust.report.report_section import Column, Entry, ReportSection, Table
from genrobust.report.report_view import SECTIONS, ReportView
from genrobust.report.score_tables import difference_entry, score_entry
from genrobust.report.wording import compared_with, gain
from genrobust.robustness import find_metric

# Cells that a sentence names.
NAMED = 12


@SECTIONS.register("cells")
def cells(view: ReportView) -> ReportSection | None:
    """Return a table for each set of training images that has some cells of the test sets and lacks others."""
    if not view.record.cells:
        return None
    return ReportSection(
        title="Classes that lack a style",
        order=55,
        label="Missing styles",
        lead="Some classes have no training image in some style. Top-1 in percent on test images of such a class and "
        "style (lacking), and on the others (present): means over the test sets that have both.",
        tables=[_table(view.overview, cells) for cells in view.record.cells],
        items=[_lacking_in_words(cells) for cells in view.record.cells],
    )


def _table(summary: Summary, cells: Cells) -> Table:
    metric = find_metric("top1")
    reference = compared_with(summary)
    subsets = {"lacking": cells.absent, "present": cells.present}
    columns = []
    for heading, subset in subsets.items():
        sizes = summary.subsets[subset]
        note = f"{count(sum(sizes.values()), 'image')}, {count(len(sizes), 'set')}"
        columns.append(Column(heading, note))
        columns.append(Column(f"{heading}, minus {reference}", "points", "gain"))
    rows = []
    for arm in summary.arms:
        entries: list[Entry] = []
        for subset in subsets.values():
            entries.append(score_entry(summary.find("top1", arm, subset), metric))
            entries.append(difference_entry(gain(summary, "top1", arm, subset), metric))
        rows.append((arm, tuple(entries)))
    return Table(tuple(columns), tuple(rows), f"By the training images of {cells.arms[0]}, percent")


def _lacking_in_words(cells: Cells) -> str:
    """Name the arms that lack cells, and the first of these cells."""
    names = some_of([f"{name} in {style} ({images:,})" for name, style, images in cells.lacking], NAMED)
    return f"Lacking in {'; '.join(cells.arms)}: {names} (test images)."
