"""The report of a study on disk: one HTML file that needs no network, Markdown, CSV and JSON."""

from __future__ import annotations

from pathlib import Path

from genrobust.core import page_json, write_files
from genrobust.report.renderers.csv import summary_to_csv
from genrobust.report.renderers.html import html
from genrobust.report.renderers.json import results_to_json
from genrobust.report.renderers.markdown import markdown
from genrobust.report.renderers.svg import svg_files
from genrobust.report.results import REPORT, RESULTS
from genrobust.report.view import ReportView


def write_report(view: ReportView, folder: Path) -> dict[str, Path]:
    """Write report.html, report.md, results.csv, results.json and each plot as SVG; returns their paths by name.

    They replace the report of the same recipe with the same scores; any other is kept in ``earlier``, under its
    date. Everything that came from outside is escaped: a class may be called ``<script>``.

    Raises:
        GenrobustError: The disk fails.
        UserError: The folder cannot be written.
    """
    facts = results_to_json(view)
    contents: dict[str, str | bytes] = {
        REPORT: html(view),
        "report.md": markdown(view),
        "results.csv": summary_to_csv(view.summary, view.metrics),
        RESULTS: page_json(facts),
        **svg_files(view),
    }
    return write_files(contents, folder, [facts["recipe"], facts["summary"], facts.get("curves")])
