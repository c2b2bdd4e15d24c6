"""The section on cells, classes in a style: accuracy on those that training images lack, and on those they have."""

from __future__ import annotations

from genrobust.core import Cells, Summary, count, some_of
from genrobust.report.nouns import Column, Entry, ReportSection, Table
from genrobust.report.tables import difference_entry, score_entry
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import compared_with, gain
from genrobust.robustness import find_metric

NAMED = 12  # cells


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
        items=[_in_words(cells) for cells in view.record.cells],
    )


def _table(summary: Summary, cells: Cells) -> Table:
    metric, minus = find_metric("top1"), compared_with(summary)
    columns: list[Column] = []
    rows: dict[str, list[Entry]] = {arm: [] for arm in summary.arms}
    for heading, subset in (("lacking", cells.absent), ("present", cells.present)):
        sizes = summary.subsets[subset]
        note = f"{count(sum(sizes.values()), 'image')}, {count(len(sizes), 'set')}"
        columns += [Column(heading, note), Column(f"{heading}, minus {minus}", "points", "gain")]
        for arm, row in rows.items():
            row.append(score_entry(summary.find("top1", arm, subset), metric))
            row.append(difference_entry(gain(summary, "top1", arm, subset), metric))
    caption = f"By what {cells.arms[0]} trains on, percent"
    entries = tuple((arm, tuple(row)) for arm, row in rows.items())
    return Table(tuple(columns), entries, caption)


def _in_words(cells: Cells) -> str:
    """Name the arms that lack cells, and the first of these."""
    names = some_of([f"{name} in {style} ({n:,})" for name, style, n in cells.lacking], NAMED)
    return f"Lacking in {'; '.join(cells.arms)}: {names} (test images)."
