"""The tables for papers: the report's figures, as LaTeX in which names are text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from genrobust.core import Claim, StudyRecord, Summary
from genrobust.report.claims import claim_rows
from genrobust.report.latex import escape_latex, latex_files
from genrobust.report.tables import Table, further_tables, main_differences, main_tables

EVIL = r"\input{/etc/passwd} $x$ & 50 % #1 _a^b ~ {open [12] * <b> | 猫" + "\n\\end{document}"
PLAIN = {"$-$": "\u2212", "--": "\u2013", r"$^\circ$": "°", r"\dag{}": "†"}  # as on the page


def tables_of(record: StudyRecord) -> dict[str, list[list[str]]]:
    """The cells below the headings of each table, by its label, without what sets them."""
    found = {}
    for table in re.findall(r"\\begin{table}(.*?)\\end{table}", latex_files(record)["tables.tex"], flags=re.S):
        (label,) = re.findall(r"\\label{tab:(.*?)}", table)
        rows = table.partition("\\midrule\n")[2].partition("\n\\bottomrule")[0].splitlines()
        assert all(row.endswith(r" \\") for row in rows)
        found[label] = [[unset(cell) for cell in re.split(r"(?<!\\)&", row.removesuffix(r" \\"))] for row in rows]
    return found


def unset(cell: str) -> str:
    text = re.sub(r"\\textbf{(.*)}|{\\scriptsize (.*)}", lambda found: found[1] or found[2], cell.strip())
    for latex, plain in PLAIN.items():
        text = text.replace(latex, plain)
    return text


def check_same(rows: list[list[str]], table: Table) -> None:
    """Each arm has a row of values and one of intervals, as in the report's table."""
    wanted = []
    for arm, entries in table.rows:
        wanted.append([arm, *(entry.text + ("°" if entry.extrapolated else "") for entry in entries)])
        wanted.append(["", *(entry.interval for entry in entries)])
    assert rows == wanted


def test_every_table_has_the_figures_of_the_report(record: StudyRecord, grouped: StudyRecord) -> None:
    for of in (record, replace(grouped, summary=replace(grouped.summary, references={}))):
        found = tables_of(of)
        for name, table in (main_tables(of.summary) | further_tables(of.summary)).items():
            check_same(found[name], table)
        for name, table in main_differences(of.summary).items():
            check_same(found[f"{name}-differences"], table)
    assert {"averages-top1", "averages-er-differences"} <= tables_of(grouped).keys()
    assert ["real, b" in row[0] for row in tables_of(grouped)["top1-differences"][-2:]] == [True, False]  # minus which


def test_claims_have_a_table(record: StudyRecord) -> None:
    claim = Claim("helps on solid icons", "real+generated", "real", "top1", "solid", "A & B, 2020")
    asked = replace(record, claims=(claim,))
    (row,), (wanted,) = tables_of(asked)["claims"], claim_rows(asked)
    assert row == [escape_latex(wanted[0]), *wanted[1:4], escape_latex(wanted[4]), wanted[5]]
    assert "claims" not in tables_of(record)


def test_names_are_text_whatever_they_are(record: StudyRecord, renamed: Callable[[str], Summary]) -> None:
    text = latex_files(replace(record, title=EVIL, summary=renamed(EVIL)))["tables.tex"]
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert len([line for line in text.splitlines() if line.startswith("%")]) == 2  # a title adds no line
    assert r"\textbackslash{}input\{/etc/passwd\} \$x\$ \& 50 \% \#1 \_a\textasciicircum{}b" in body
    commands = set(re.findall(r"\\([a-zA-Z]+)", body))
    assert commands == set(re.findall(r"\\([a-zA-Z]+)", latex_files(record)["tables.tex"])) - {"usepackage"} | {
        f"text{name}" for name in ("asciicircum", "asciitilde", "backslash", "bar", "greater", "less")
    }
    bare = re.sub(r"\\[\\{}$&#%_]", "", body)
    assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0
    assert not re.search(r"(?<!{)[\[*]", bare)  # after the end of a row, either would be its argument
    rows = [line for line in bare.splitlines() if " & " in line]
    assert {row.count("&") for row in rows} == {line.count("r") for line in re.findall(r"tabular}{l(r+)}", body)}


@pytest.mark.parametrize(("text", "latex"), [("a\u00a0\t b", "a b"), ("5 µm²", "5 µm$^2$"), ("", "")])
def test_a_text_is_one_line(text: str, latex: str) -> None:
    assert escape_latex(text) == latex
