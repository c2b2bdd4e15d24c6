"""The plots of a report as SVG files of their own, for papers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from genrobust.core import StudyRecord, escape_unprintable, slug
from genrobust.report.costs import cost_plot
from genrobust.report.curves import drawn_curves
from genrobust.report.page import render, verbatim
from genrobust.report.plots import PLOT_BOX, dot_plot, looks, scatter
from genrobust.report.tables import main_tables
from genrobust.report.wording import row_name

CHARACTER = 6.5  # SVG units: the mean width of one at 11 px, for names that nothing measures
# SVG units, of the plot of accuracies: the height of an arm, what is between test sets, the place of the first one, and
# the length of the axis.
LANE, GAP, TOP, TRACK = 12, 16, 24, 360


@dataclass(frozen=True, slots=True)
class _Plot:
    """A plot: the macro of plots.svg.j2 that draws it, with its arguments, in a `box` of SVG units.

    `legend` pairs names with the arms whose looks they have; `has_line` says whether a line of baselines is drawn.
    """

    title: str
    macro: str
    arguments: tuple[Any, ...]
    box: Mapping[str, int]
    legend: Sequence[tuple[str, str]]
    note: str = ""
    has_line: bool = False

    @property
    def text_width(self) -> float:
        """The width of its longest line."""
        lines = [f"{self.title}  {self.note}", *(name for name, _ in self.legend)]
        return CHARACTER * max(map(len, lines))


def svg_files(record: StudyRecord) -> dict[str, str]:
    """Return the plots of the report by file name, each in light colors with its legend.

    They hold no script and load nothing.
    """
    shared = {"colors": _plot_style(), "about": [record.title, record.date], "looks": looks(record.summary)}
    files = {}
    for number, plot in enumerate(_plots(record), 1):
        svg = render("figure.svg.j2", plot=plot, **shared)
        files[f"figure-{number}-{slug(plot.title)}.svg"] = escape_unprintable(svg, kept="\n")
    return files


def _plots(record: StudyRecord) -> Iterator[_Plot]:
    summary, look = record.summary, looks(record.summary)
    legend = [(row_name(summary, arm), arm) for arm in summary.arms]
    accuracy = main_tables(summary)["top1"]
    names = [max(column.name, column.note, key=len) for column in accuracy.columns]
    left, row = round(CHARACTER * max(map(len, names))) + GAP, max(LANE * len(summary.arms), 2 * LANE) + GAP
    bottom = TOP + row * len(names)
    box = {"left": left, "right": left + TRACK, "width": left + TRACK + GAP, "top": TOP, "row": row}
    box |= {"bottom": bottom, "height": bottom}
    yield _Plot("accuracy", "accuracy", (dot_plot(summary, accuracy), look, box), box, legend, accuracy.caption)
    scattered = scatter(record)
    for panel in [] if scattered is None else scattered["panels"]:
        drawn = scattered, panel, PLOT_BOX, look
        yield _Plot(panel["name"], "panel_of_arms", drawn, PLOT_BOX, legend, panel["note"], bool(panel["band"]))
    for curve in drawn_curves(record):
        for panel in [] if curve.plot is None else curve.plot["panels"]:
            title, arguments = f"{curve.arm}, {panel['name']}", (curve.plot, panel, PLOT_BOX)
            yield _Plot(title, "panel_of_curve", arguments, PLOT_BOX, (), panel["note"], bool(panel["band"]))
    if (costs := cost_plot(record)) is not None:
        series = [(name, arm) for name, arm, *_ in costs["series"]]
        yield _Plot("cost", "costs_of_arms", (costs, look), costs["box"], series)


def _plot_style() -> Markup:
    """Return the rules of the style sheet for plots, with its light colors: not every program knows variables."""
    css = str(verbatim("report.css"))
    values = dict(re.findall(r"--([\w-]+): ([^;]+);", css.partition("}")[0])) | {"paper": "#fff"}
    rules = css.partition("/* plots */")[2].partition("/* around plots */")[0]
    return Markup(re.sub(r"var\(--([\w-]+)\)", lambda match: values[match[1]], rules))
