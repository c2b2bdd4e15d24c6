"""The report as Markdown: its answer, tables and sentences, without plots and pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from genrobust.report.report_section import Column, Entry, ReportSection, Table
from genrobust.report.report_view import ReportView
from genrobust.report.wording import EXTRAPOLATED

# Characters that Markdown or the HTML in it may read as markup.
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~&])")


def markdown(view: ReportView) -> str:
    """Return the report as GitHub-flavoured Markdown. Names are escaped; code is fenced."""
    record = view.record
    answer = view.answer
    verdict = f"**{escaped(' '.join([*answer.warnings, answer.verdict]))}** {escaped(view.caveat)}"
    parts = [f"# {escaped(record.title)}", escaped(record.question), verdict]
    parts += [escaped(sentence) for sentence in answer.details]
    for section in view.sections.values():
        parts += _section(section, view.names)
    parts.append(escaped(record.date))
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(section: ReportSection, names: Mapping[str, str]) -> Iterator[str]:
    """Yield the parts of a section. A section with only plots and pictures has none."""
    words = ["\n".join(f"- {escaped(item)}" for item in section.items), escaped(section.note)]
    words += [fenced(code, language) for language, code in section.code]
    if section.tables or any(words):
        yield f"## {escaped(section.title)}"
    for table in section.tables:
        yield f"{escaped(table.caption)}:" if table.caption else ""
        yield _table(table, names)
    yield from words


def _table(table: Table, names: Mapping[str, str]) -> str:
    """Write a table. "" without rows."""
    if not table.rows:
        return ""
    heads = [table.head, *(_heading(column) for column in table.columns)]
    lines = [[escaped(head) for head in heads], ["---"] * len(heads)]
    if any(column.note for column in table.columns):
        lines.append(["", *(escaped(column.note) for column in table.columns)])
    for name, entries in table.rows:
        shown = name if table.plain else names.get(name, name)
        if name in table.minus:
            shown += f" minus {table.minus[name]}"
        lines.append([escaped(shown), *(_cell(entry) for entry in entries)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _heading(column: Column) -> str:
    return f"{column.name}†" if column.kind == "out" else column.name


def _cell(entry: Entry) -> str:
    text = escaped(entry.text)
    if entry.extrapolated:
        text += EXTRAPOLATED
    if entry.best:
        text = f"**{text}**"
    if entry.interval:
        text += f" ({escaped(entry.interval)})"
    return text


def escaped(text: str) -> str:
    """Return `text` on one line, without anything that Markdown or HTML reads as markup."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def fenced(code: str, language: str) -> str:
    """Write a block of `code` that may contain backticks."""
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{code.rstrip()}\n{fence}"
