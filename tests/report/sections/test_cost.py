"""The plot of accuracy against time: places, ticks, and the lines through arms that differ in their steps alone."""

import re
from dataclasses import replace
from itertools import pairwise

from genrobust.core.results import MEAN_OF_SHIFTS
from genrobust.report.renderers.html import html
from genrobust.report.renderers.markdown import markdown
from genrobust.report.sections.cost import GAP, cost_plot
from genrobust.report.view import ReportView


def timed(record, *seconds, **changes):
    arms = zip(record.arms, seconds, strict=True)
    return replace(record, arms=tuple(replace(arm, seconds=of, **changes) for arm, of in arms))


def marks(plot):
    return [mark for _, _, of_series, _ in plot["series"] for mark in of_series]


def test_marks_lie_by_the_logarithm_of_all_seconds_and_by_accuracy(record):
    plot = cost_plot(timed(record, {"train": 100}, {"train": 100, "generate": 900}, {"train": 10_000}))
    real, generated, retrieved = marks(plot)
    assert abs((real.x + retrieved.x) / 2 - generated.x) < 0.02  # 1,000 is halfway from 100 to 10,000
    assert plot["box"]["left"] < real.x < retrieved.x < plot["box"]["right"]
    assert real.y > generated.y > retrieved.y  # 40.0, 52.5 and 70.0 percent
    assert generated.label == "real+generated: 52.5 % (50.5\u201354.5), 16 min 40 s"
    assert plot["test_set"] == MEAN_OF_SHIFTS
    assert [(name, look) for name, look, _, _ in plot["series"]] == [(m.arm, m.arm) for m in marks(plot)]
    assert all(real.x - 20 < at < retrieved.x + 20 for at, _ in plot["x_ticks"])
    assert {"10 min", "1 h"} <= {label for _, label in plot["x_ticks"]}


def test_a_narrow_range_of_times_still_has_ticks_that_do_not_touch(record):
    for seconds in ((57, 105, 222), (30, 31, 33), (1, 50_000, 9e6)):
        ticks = [at for at, _ in cost_plot(timed(record, *({"train": s} for s in seconds)))["x_ticks"]]
        assert ticks == sorted(ticks) and all(b - a >= GAP for a, b in pairwise(ticks))
        assert len(ticks) > 1 or seconds[1] == 31


def test_a_line_joins_arms_of_the_same_images_from_the_fewest_steps_on(record):
    found = timed(record, {"train": 300}, {"train": 100}, {"train": 200}, parts={"real": 1800})
    steps = dict(zip([arm.name for arm in found.arms], (900, 300, 600), strict=True))
    found = replace(found, arms=tuple(replace(arm, steps=steps[arm.name]) for arm in found.arms))
    plot = cost_plot(found)
    ((name, look, joined, path),) = plot["series"]
    places = [float(x) for x, _ in re.findall(r"([\d.]+) ([\d.]+)", path)]
    assert name == look == "real+generated" and places == [m.x for m in joined] == sorted(places)
    assert html(ReportView(found)).count('class="joined"') == 1
    sizes = [replace(arm, alike=arm.name) for arm in found.arms]  # such as images of other sizes
    assert len(cost_plot(replace(found, arms=tuple(sizes)))["series"]) == 3


def test_a_page_has_the_plot_only_where_times_are_known(record):
    assert cost_plot(record) is None and "What it costs" not in html(ReportView(record))
    known = timed(record, {"train": 100}, {}, {"train": 10_000})
    assert len(marks(cost_plot(known))) == 2
    page = html(ReportView(known))
    assert "What it costs" in page and "1 min 40 s" in page and "2 h 46 min" in page
    assert "1 min 40 s" in markdown(ReportView(known))
    assert cost_plot(timed(record, {"train": 100}, {}, {})) is None
