"""The report of a study on disk: one HTML file that needs no network, Markdown, CSV, JSON and plots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genrobust.report.renderers.plot_files import svg_files
from genrobust.report.renderers.report_html import html
from genrobust.report.renderers.report_markdown import markdown
from genrobust.report.renderers.results_json import results_to_json
from genrobust.report.renderers.scores_csv import summary_to_csv
from genrobust.report.report_folder import REPORT, RESULTS
from genrobust.report.report_view import ReportView
from genrobust.store import page_json, write_files


def write_report(view: ReportView, folder: Path, inputs: Mapping[str, Any] | None = None) -> dict[str, Path]:
    """Write report.html, report.md, results.csv, results.json and each plot as SVG; return their paths by name.

    All text from outside is escaped: a class may be called ``<script>``.

    Args:
        inputs: The inputs that the folder is named after, see `report_inputs`.

    Raises:
        GenrobustError: The disk fails.
        UserError: The folder cannot be written, or contains a report that someone edited.
    """
    contents: dict[str, str | bytes] = {
        REPORT: html(view),
        "report.md": markdown(view),
        "results.csv": summary_to_csv(view.summary, view.metrics),
        RESULTS: page_json(results_to_json(view)),
        **svg_files(view),
    }
    return write_files(contents, folder, inputs)
