"""Lists the reports of a folder of studies, and how the recipes of one study differ."""

from pathlib import Path
from typing import Annotated

from rich.markup import escape
from rich.table import Table

from genrobust.cli import COMMANDS, OUT, USE, argument, in_group, out_console, tell


@COMMANDS.register("reports")
@in_group(USE)
def reports(runs: Annotated[Path, argument("RUNS", "The folder of studies.")] = Path(OUT)) -> None:
    """List all finished reports with their answers, and write them as a page, RUNS/index.html.

    A report of the same study as an older one comes with the keys of the recipe that differ.

    Example: genrobust reports
    """
    from genrobust.tools.reports.finished_reports import read_reports
    from genrobust.tools.reports.reports_page import write_page

    found = read_reports(runs)
    table = Table()
    for heading in ("finished", "study", "answer"):
        table.add_column(heading, overflow="fold")
    for report in found:
        answer = "\n".join([report.answer, *report.changes])
        table.add_row(report.finished, escape(report.name), escape(answer))
    out_console.print(table)
    tell(str(write_page(found, runs)))
