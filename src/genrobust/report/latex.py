"""The tables of a report as LaTeX, for papers: the same figures as on the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from types import MappingProxyType

from genrobust import __version__
from genrobust.core import StudyRecord, Summary
from genrobust.report.averages import averages
from genrobust.report.claims import CLAIM_HEADS, claim_rows
from genrobust.report.tables import Table, further_tables, main_differences, main_tables
from genrobust.report.wording import (
    ELSEWHERE,
    EN_DASH,
    EXTRAPOLATED,
    MINUS,
    STARTED,
    caveat,
    marks,
    row_name,
    subtracted,
)

_SPECIAL = str.maketrans(
    {
        **{character: f"\\{character}" for character in "{}$&#_%"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "[": "{[}",  # as the next one, it would belong to the end of the row before it
        "*": "{*}",
        MINUS: "$-$",
        EN_DASH: "--",
        EXTRAPOLATED: r"$^\circ$",
        "†": r"\dag{}",
        ELSEWHERE: r"\ddag{}",
        STARTED: r"\S{}",
        "²": "$^2$",
    }
)
CLAIM_WIDTHS = (0.2, 0.15, 0.12, 0.14, 0.08, 0.08)  # of the columns of the claims, shares of a line


def latex_files(record: StudyRecord) -> dict[str, str]:
    """Return tables.tex: the tables of figures, of differences and of claims, each a float of booktabs."""
    return {"tables.tex": "\n\n".join(_tables(record)) + "\n"}


def _tables(record: StudyRecord) -> Iterator[str]:
    summary, section = record.summary, averages(record)
    yield f"% {_one_line(record.title)}, {_one_line(record.date)}; genrobust {__version__}"
    yield r"% In the preamble: \usepackage{booktabs,graphicx}, and for names beyond Latin letters LuaLaTeX or XeLaTeX."
    if section is not None:
        for name, table in section.tables.items():
            yield _figures(f"averages-{name}", table, summary, "trained on")
        for name, table in section.gains.items():
            yield _figures(f"averages-{name}-differences", table, summary, "trained on", section.minus)
    for name, table in main_tables(summary).items():
        yield _figures(name, table, summary)
    for name, table in main_differences(summary).items():
        yield _figures(f"{name}-differences", table, summary, minus=subtracted(summary))
    for name, table in further_tables(summary).items():
        yield _figures(name, table, summary)
    if record.claims:
        columns = "".join(rf"p{{{width}\linewidth}}" for width in CLAIM_WIDTHS)
        rows = [[escape_latex(cell) for cell in row] for row in claim_rows(record)]
        yield _float("claims", "Which claims hold.", columns, [list(map(escape_latex, CLAIM_HEADS))], rows)


def _figures(
    name: str,
    table: Table,
    summary: Summary,
    head: str = "arm",
    minus: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """A table of figures, each above its interval; the sizes of the test sets are below their names."""
    out = any(column.kind == "out" for column in table.columns)
    notes = [f"{table.caption}.", caveat(summary), marks(summary), "† left out of the mean." if out else ""]
    names = [column.name + ("†" if column.kind == "out" else "") for column in table.columns]
    sizes = zip_longest(*(column.note.split(", ") for column in table.columns), fillvalue="")
    heads = [list(map(escape_latex, [head, *names])), *map(_sizes, sizes)]
    rows = []
    for arm, entries in table.rows:
        shown = [escape_latex(entry.text + (EXTRAPOLATED if entry.extrapolated else "")) for entry in entries]
        bold = [rf"\textbf{{{text}}}" if entry.best else text for entry, text in zip(entries, shown, strict=True)]
        rows.append([escape_latex(row_name(summary, arm, minus)), *bold])
        rows.append(["", *(_small(entry.interval) for entry in entries)])
    return _float(name, " ".join(filter(None, notes)), "l" + "r" * len(names), heads, rows)


def _sizes(parts: Sequence[str]) -> list[str]:
    """A line below the names of the test sets, as in "380 images": the word that most of them share stands in front."""
    unit = Counter(part.rpartition(" ")[2] for part in parts if part).most_common(1)[0][0]
    return [_small(text) for text in (unit, *(part.removesuffix(f" {unit}") for part in parts))]


def _float(
    label: str, caption: str, columns: str, heads: Sequence[Sequence[str]], rows: Sequence[Sequence[str]]
) -> str:
    """A table whose cells are LaTeX already, made smaller where it is wider than the text."""
    lines = [r"\begin{table}", r"\centering\small\setlength{\tabcolsep}{3pt}"]
    lines += [rf"\caption{{{escape_latex(caption)}}}\label{{tab:{label}}}"]
    lines += [r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"]
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    lines += [*map(_row, heads), r"\midrule", *map(_row, rows), r"\bottomrule", r"\end{tabular}}", r"\end{table}"]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _small(text: str) -> str:
    return rf"{{\scriptsize {escape_latex(text)}}}" if text else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def escape_latex(text: str) -> str:
    """Return `text` on one line, with nothing in it that LaTeX reads as a command."""
    return _one_line(text).translate(_SPECIAL)
