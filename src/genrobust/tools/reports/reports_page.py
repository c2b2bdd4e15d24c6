"""Writes the list of reports as an HTML page next to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genrobust.report import render
from genrobust.store import OutputFile
from genrobust.tools.reports.finished_reports import FinishedReport

PAGE = "index.html"


def write_page(reports: Sequence[FinishedReport], runs: Path) -> Path:
    """Write the page into the folder `runs`, and return its path. An older one is replaced."""
    page = runs / PAGE
    with OutputFile(page, ".html", overwrite=True).writing() as file:
        file.write(render("tools/reports/reports.html.j2", reports=reports, runs=runs.resolve().name).encode())
    return page
