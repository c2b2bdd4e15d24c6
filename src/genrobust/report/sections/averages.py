"""The section on groups of arms: their tables, with what the paper measured on ImageNet beside them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from genrobust.core import MEAN_OF_SHIFTS
from genrobust.report.groups import averaged_over, with_group_means
from genrobust.report.nouns import PAGES, Column, Entry, ReportSection, Table, template_beside
from genrobust.report.tables import main_differences, main_tables
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import number, shifts_in_mean
from genrobust.robustness import find_metric

PAPER = "Bansal and Grover, 2023, arXiv 2302.02503"
# Effective robustness in points, averaged over architectures, by the kind of the shifted set.
PAPER_ER = {
    "generated": {"imagenet-sketch": 37.8, "imagenet-r": 45.3, "imagenet-v2": 9.1, "objectnet": 49.9, "mean": 35.6},
    "real+generated": {"imagenet-sketch": 14.9, "imagenet-r": 16.7, "imagenet-v2": 0.5, "objectnet": 2.3, "mean": 8.6},
}


@SECTIONS.register("averages")
def averages(view: ReportView) -> ReportSection | None:
    """Return the section of a study that has groups; effective robustness, which the paper measured, comes first."""
    record = view.record
    if not record.summary.groups:
        return None
    summary = with_group_means(record.summary, keep_ungrouped=False)
    tables, gains = main_tables(summary, view.metrics), main_differences(summary, view.metrics)
    note, over = "", shifts_in_mean(summary, find_metric("er"))
    if "er" in tables and (beside := with_paper(tables["er"], record.kinds, over)) != tables["er"]:
        tables["er"] = beside
        note = f"Rows marked {PAPER} are that paper's, with its own models and evaluation."
    what = averaged_over(record)
    lines = f" One baseline line serves all {what}." if record.summary.lines else ""
    return ReportSection(
        title=f"Averaged over {what}",
        order=10,
        label="Averages",
        lead=f"The mean over the arms of each group.{lines}",
        tables=[replace(table, head="trained on") for of in (tables, gains) for table in reversed(of.values())],
        note=note,
        template=template_beside(__file__),
        forms=PAGES,
    )


def with_paper(table: Table, kinds: Mapping[str, str], over: Collection[str]) -> Table:
    """Return `table`, of effective robustness, with the paper's metrics in rows of their own below.

    `kinds` maps a test set to what it is (see `ShiftConfig`). Nothing is added where none is one of the paper's. Its
    mean stands only beside a mean of the same four sets: `over` are those that the mean is over.
    """
    in_mean = {kinds.get(name) for name in over}

    def entry(values: Mapping[str, float], column: Column) -> Entry:
        kind = kinds.get(column.name, "")
        if column.name == MEAN_OF_SHIFTS and in_mean == values.keys() - {"mean"}:
            kind = "mean"
        value = values.get(kind)
        return Entry(None) if value is None else Entry(value, number(value, True), method=PAPER)

    if not any(kinds.get(column.name) in PAPER_ER["generated"] for column in table.columns):
        return table
    rows = [
        (f"{trained_on} ({PAPER})", tuple(entry(values, column) for column in table.columns))
        for trained_on, values in PAPER_ER.items()
    ]
    return replace(table, rows=(*table.rows, *rows))
