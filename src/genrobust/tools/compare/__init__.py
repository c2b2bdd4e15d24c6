"""Compares studies: ranks what they trained on, on one page."""

from pathlib import Path
from typing import Annotated

from genrobust.cli import COMMANDS, USE, Overwrite, argument, err_console, in_group, option, out_console, tell
from genrobust.core import OutputFile

Runs = Annotated[
    list[str],
    argument("RUN...", "The folder of a study, a folder of studies, a results.json, or the URL of one of these."),
]
Page = Annotated[Path, option("--out FILE.html", "The page.")]


@COMMANDS.register("compare")
@in_group(USE)
def compare(runs: Runs, out: Page = Path("compare.html"), overwrite: Overwrite = False) -> None:
    """Rank the arms of studies by accuracy and cost, on one page.

    Example: genrobust compare runs/pictograms runs/pictograms-full
    """
    from genrobust.tools.compare.page import compare_html, ranking_table
    from genrobust.tools.compare.ranking import find_results, rank

    files = find_results(runs)
    with OutputFile(out, ".html", files.values(), overwrite).writing() as file:
        rankings = rank(files)
        file.write(compare_html(rankings, out).encode())
    shown = err_console if out == Path("-") else out_console  # standard output holds the page alone
    for ranking in rankings:
        shown.print(ranking_table(ranking))
    if out != Path("-"):
        tell(out)
