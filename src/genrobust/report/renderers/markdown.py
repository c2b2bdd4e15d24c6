"""The report as Markdown: its answer, tables and sentences, without plots and pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from genrobust.report.nouns import Entry, ReportSection, Table
from genrobust.report.view import ReportView
from genrobust.report.wording import EXTRAPOLATED

_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~&])")  # what Markdown or the HTML in it might read as markup


def markdown(view: ReportView) -> str:
    """Return the report as GitHub-flavoured Markdown. Names are escaped; code is fenced."""
    record = view.record
    answer = view.answer
    verdict = f"**{escaped(' '.join([*answer.warnings, answer.verdict]))}** {escaped(view.caveat)}"
    parts = [f"# {escaped(record.title)}", escaped(record.question), verdict, *map(escaped, answer.details)]
    for section in view.sections.values():
        parts += _section(section, view.names)
    return "\n\n".join(part for part in [*parts, escaped(record.date)] if part) + "\n"


def _section(section: ReportSection, names: Mapping[str, str]) -> Iterator[str]:
    """Yield the parts of a section; nothing where it has plots and pictures alone."""
    words = ["\n".join(f"- {escaped(item)}" for item in section.items), escaped(section.note)]
    words += [fenced(code, language) for language, code in section.code]
    if section.tables or any(words):
        yield f"## {escaped(section.title)}"
    for table in section.tables:
        yield f"{escaped(table.caption)}:" if table.caption else ""
        yield _table(table, names)
    yield from words


def _table(table: Table, names: Mapping[str, str]) -> str:
    if not table.rows:
        return ""
    heads = [table.head, *(c.name + ("†" if c.kind == "out" else "") for c in table.columns)]
    lines = [list(map(escaped, heads)), ["---"] * len(heads)]
    if any(column.note for column in table.columns):
        lines.append(["", *(escaped(column.note) for column in table.columns)])
    minus = {arm: f" minus {other}" for arm, other in table.minus.items()}
    for name, entries in table.rows:
        shown = name if table.plain else names.get(name, name) + minus.get(name, "")
        lines.append([escaped(shown), *map(_cell, entries)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(entry: Entry) -> str:
    text = escaped(entry.text) + (EXTRAPOLATED if entry.extrapolated else "")
    return (f"**{text}**" if entry.best else text) + (f" ({escaped(entry.interval)})" if entry.interval else "")


def escaped(text: str) -> str:
    """Return `text` on one line, with nothing in it that Markdown or HTML reads as markup."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def fenced(code: str, language: str) -> str:
    """Write a block of `code`, whatever backticks it holds."""
    ticks = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, ticks + 1)
    return f"{fence}{language}\n{code.rstrip()}\n{fence}"
