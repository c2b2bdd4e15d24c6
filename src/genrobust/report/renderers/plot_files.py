"""The plots of a report as separate SVG files, for papers."""

from __future__ import annotations

import re
from itertools import chain

from markupsafe import Markup

from genrobust.core import escape_unprintable, slug
from genrobust.report.page_templates import render, verbatim
from genrobust.report.report_view import ReportView


def svg_files(view: ReportView) -> dict[str, str]:
    """Return the plots of the report by file name, each in light colors with its legend.

    They contain no script and load nothing.
    """
    record = view.record
    shared = {"colors": _plot_style(), "about": [record.title, record.date], "looks": view.looks}
    plots = chain.from_iterable(section.plots for section in view.sections.values())
    files = {}
    for number, plot in enumerate(plots, 1):
        svg = render("renderers/figure.svg.j2", plot=plot, **shared)
        files[f"figure-{number}-{slug(plot.title)}.svg"] = escape_unprintable(svg, kept="\n")
    return files


def _plot_style() -> Markup:
    """Return the rules of the style sheet for plots, with its light colors. Not every program knows CSS variables."""
    css = str(verbatim("report.css"))
    light = css.partition("}")[0]
    colors = dict(re.findall(r"--([\w-]+): ([^;]+);", light)) | {"paper": "#fff"}
    rules = css.partition("/* plots */")[2].partition("/* around plots */")[0]
    return Markup(re.sub(r"var\(--([\w-]+)\)", lambda match: colors[match[1]], rules))
