"""The report of a study on disk: one HTML file that needs no network, Markdown, CSV and JSON."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from genrobust.core import UserError, page_json, write_files
from genrobust.report.renderers.csv import summary_to_csv
from genrobust.report.renderers.html import html
from genrobust.report.renderers.json import results_to_json
from genrobust.report.renderers.markdown import markdown
from genrobust.report.renderers.svg import svg_files
from genrobust.report.results import REPORT, RESULTS
from genrobust.report.view import ReportView

FORMATS: Mapping[str, Callable[[ReportView], Mapping[str, str]]] = {  # and the files that each adds to a report
    "html": lambda view: {},  # which every report has
    "svg": svg_files,
}


def write_report(
    view: ReportView, folder: Path, formats: Collection[str] = (), inputs: Mapping[str, Any] | None = None
) -> dict[str, Path]:
    """Write report.html, report.md, results.csv and results.json into `folder`; returns their paths by name.

    `formats` adds a file for each plot ("svg"). `inputs` are what the folder is named after, see `report_inputs`.

    Everything that came from outside is escaped: a class may be called ``<script>``.

    Raises:
        GenrobustError: The disk fails.
        UserError: The folder cannot be written, or holds a report that someone edited.
    """
    contents: dict[str, str | bytes] = {
        REPORT: html(view),
        "report.md": markdown(view),
        "results.csv": summary_to_csv(view.summary, view.figures),
        RESULTS: page_json(results_to_json(view)),
    }
    for form in formats:
        contents |= FORMATS[form](view)
    return write_files(contents, folder, inputs)


def check_report_formats(formats: Iterable[str]) -> None:
    """Raise UserError if one of `formats` is none that reports are written in."""
    if unknown := [form for form in formats if form not in FORMATS]:
        raise UserError(
            f"--format {unknown[0]}: choose one of {', '.join(FORMATS)}; Inkscape and others make a PDF of an SVG"
        )
