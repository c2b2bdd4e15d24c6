"""The page that ranks what studies trained on, and its table for the terminal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from rich.table import Table as RichTable
from rich.text import Text

from genrobust.core import remote_of
from genrobust.report import EN_DASH, MINUTE, REPORT, StudyResults, marks, number, own_script, render, span
from genrobust.tools.compare.ranking import Ranking

COST_HEADS = ("images", "generated", "make images", "train", "steps")


def compare_html(rankings: Sequence[Ranking], page: Path) -> str:
    """Return the rankings as one HTML page, with links from the file `page` to the reports that lie on this machine."""
    arms = [arm for ranking in rankings for arm in ranking.rows]
    studies = {arm.results.path: arm for arm in arms}
    folder = Path(os.path.realpath(page)).parent
    return render(
        "tools/compare/compare.html.j2",
        rankings=rankings,
        arms=arms,
        studies=studies,
        links={path: _report_link(path, folder) for path in studies},
        marks=" ".join(dict.fromkeys(filter(None, (marks(arm.results.summary) for arm in studies.values())))),
        answers=[_answer(ranking) for ranking in rankings],
        cost_heads=COST_HEADS,
        machine=_machine,
        **own_script(),
    )


def ranking_table(ranking: Ranking) -> RichTable:
    """Return the ranking as a table for the terminal. Where that is narrow, names take more lines; no number is cut."""
    table = RichTable(title=Text(ranking.heading), title_justify="left")
    heads = (f"{ranking.by}, %", "95 % interval", "minus its reference", "minutes")
    rows = [
        (
            number(arm.leading.value),
            span(arm.leading),
            f"{arm.gain.text}\n{arm.gain.interval}".rstrip() if arm.reference else "reference",
            EN_DASH if arm.seconds is None else number(arm.seconds / MINUTE),
        )
        for arm in ranking.rows
    ]
    table.add_column("", justify="right", width=len(str(len(rows))))
    table.add_column("study: arm", overflow="fold")
    for head, cells in zip(heads, zip(*rows, strict=True), strict=True):
        width = max(map(len, [*head.split(), *(line for cell in cells for line in cell.split("\n"))]))
        table.add_column(Text(head), justify="right", width=width)
    for rank, (arm, (value, interval, gained, minutes)) in enumerate(zip(ranking.rows, rows, strict=True), 1):
        gain = Text(gained, style="dim" if arm.gain.sure is False else "")
        table.add_row(str(rank), Text(f"{arm.study}: {arm.name}"), value, interval, gain, minutes)
    return table


def _answer(ranking: Ranking) -> str:
    """Say what is first in a ranking, and what is known of its gain."""
    arm = ranking.rows[0]
    text = f"{arm.study}: {arm.name} has the highest {ranking.by}, {number(arm.leading.value)} % ({span(arm.leading)})"
    if arm.gain.value is None:
        return f"{text}."
    difference = f"{arm.gain.text} points ({arm.gain.interval}{'' if arm.gain.sure else ', which may be chance'})"
    return f"{text}. It differs from its reference, {arm.reference}, by {difference}."


def _machine(results: StudyResults) -> str:
    return "; ".join(results.environment[name] for name in ("machine", "device") if name in results.environment)


def _report_link(results: Path, folder: Path) -> str:
    report = results.with_name(REPORT)
    if remote_of(results) is not None or not report.is_file():
        return ""
    return quote(Path(os.path.relpath(report, folder)).as_posix())
