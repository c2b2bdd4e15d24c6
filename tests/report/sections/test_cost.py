"""The cost of accuracy: every stage in minutes, and a plot with its places, ticks and lines where costs differ."""

from dataclasses import replace
from itertools import pairwise

import pytest

from genrobust.report.renderers.report_html import html
from genrobust.report.renderers.report_markdown import markdown
from genrobust.report.report_view import ReportView
from genrobust.report.sections.cost import GAP


def timed(record, *seconds, **changes):
    arms = zip(record.arms, seconds, strict=True)
    return replace(record, arms=tuple(replace(arm, seconds=of, **changes) for arm, of in arms))


def section(record):
    return ReportView(record).sections["cost"]


def plotted(record):
    """What the plot shares, and its marks."""
    (plot,) = section(record).plots
    ((_, (shared, marks, *_)),) = plot.parts
    return shared, marks


def test_all_stages_count_in_core_minutes_and_the_mean_comes_first(record):
    made = {"train": 60, "class model": 600, "generate": 300, "filter": 6}
    timings = timed(record, {"train": 60}, made, {"train": 60})
    found = section(timings)
    (table,) = found.tables
    assert [column.name for column in table.columns] == [
        *("mean of shifts", "all", "class model", "generate", "filter", "train")
    ]
    rows = {name: [entry.text for entry in entries] for name, entries in table.rows}
    assert rows["real+generated"] == ["52.5", "16.1", "10.0", "5.0", "0.1", "1.0"]
    assert rows["real"] == ["40.0", "1.0", "–", "–", "–", "1.0"]  # noqa: RUF001 - as the report writes it
    assert "collecting and labeling" in found.note
    on_gpu = section(replace(timings, on_cores=False))
    assert on_gpu.lead.startswith("Device-minutes") and on_gpu.tables[0].rows[0][1][1].text == "1.0"


def test_marks_lie_by_the_logarithm_of_all_minutes_and_by_accuracy(record):
    shared, marks = plotted(timed(record, {"train": 100}, {"train": 100, "generate": 900}, {"train": 10_000}))
    real, generated, retrieved = marks
    assert abs((real.x + retrieved.x) / 2 - generated.x) < 0.02  # 1,000 is halfway from 100 to 10,000
    assert 0 < real.x < retrieved.x < 100 and real.y > generated.y > retrieved.y
    assert generated.label == "real+generated: 52.5 % (50.5\u201354.5), 16.7 core-minutes"
    assert {"3", "10", "30", "100"} <= {label for _, label in shared["x_ticks"]}


@pytest.mark.parametrize("seconds", [(57, 105, 222), (30, 31, 37), (1, 50_000, 9e6)])
def test_ticks_of_any_range_of_times_do_not_touch(record, seconds):
    shared, _ = plotted(timed(record, *({"train": s} for s in seconds)))
    ticks = [at for at, _ in shared["x_ticks"]]
    assert ticks == sorted(ticks) and all(b - a >= GAP for a, b in pairwise(ticks))
    assert len(ticks) > 1 or seconds[1] == 31


def test_the_section_needs_times_and_the_plot_those_that_differ(record):
    assert "What it costs" not in html(ReportView(record))
    known = timed(record, {"train": 100}, {}, {"train": 10_000})
    assert len(plotted(known)[1]) == 2
    for form in (html(ReportView(known)), markdown(ReportView(known))):
        assert "What it costs" in form and "1.7" in form and "167" in form
    for alike in (timed(record, {"train": 100}, {}, {}), timed(record, *({"train": s} for s in (100, 101, 110)))):
        assert section(alike).tables and not section(alike).plots
