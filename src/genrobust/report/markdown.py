"""The report as Markdown: the same answer, tables and limits, without figures and pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from genrobust.core import StudyRecord, Summary
from genrobust.report.answering import answer, answer_arm
from genrobust.report.averages import averages
from genrobust.report.claims import CLAIM_HEADS, claim_rows
from genrobust.report.class_gains import class_gains
from genrobust.report.costs import arm_time
from genrobust.report.curves import HEAD, drawn_curves
from genrobust.report.groups import with_group_means
from genrobust.report.pairs import pairs
from genrobust.report.quality import QUALITY_HEADS, quality_note, quality_rows
from genrobust.report.tables import Entry, Table, further_tables, main_differences, main_tables
from genrobust.report.wording import (
    EN_DASH,
    EXTRAPOLATED,
    duration,
    limits,
    made_by_rows,
    mixture_in_words,
    number,
    row_name,
    subtracted,
)

_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~&])")  # what Markdown or the HTML in it might read as markup


def markdown(record: StudyRecord) -> str:
    """Return the report of `record` as GitHub-flavoured Markdown. Names are escaped; code is fenced."""
    summary = record.summary
    parts = [f"# {escaped(record.title)}", escaped(record.question), f"**{escaped(' '.join(answer(record)))}**"]
    parts += _averages(record)
    for table in main_tables(summary).values():
        parts += [f"## {escaped(table.caption)}", _figures_table(table, summary)]
    for table in main_differences(summary).values():
        parts += [f"## {escaped(table.caption)}", _figures_table(table, summary, minus=subtracted(summary))]
    parts += _pairs_and_class_gains(record)
    parts += _curves(record)
    if further := further_tables(summary):
        parts += ["## Further figures", *(_figures_table(table, summary, table.caption) for table in further.values())]
    if record.claims:
        parts += ["## Which claims hold", markdown_table(CLAIM_HEADS, claim_rows(record))]
    if record.qualities:
        parts += ["## What the images are like", markdown_table(QUALITY_HEADS, quality_rows(record))]
        parts += [escaped(quality_note(record))]
    if summary.lines:
        parts += ["## Baseline lines", _baseline_lines_table(record)]
    parts += ["## What each arm trained on", _arms(record)]
    parts += ["## How to read it", "\n".join(f"- {escaped(note)}" for note in limits(record))]
    parts += ["## Time", _stages(record)]
    facts = [*made_by_rows(record), *record.environment.items()]
    parts += ["## Environment", markdown_table(["", ""], [list(fact) for fact in facts])]
    parts += ["## How to run it again", fenced(record.command, "sh"), fenced(record.recipe_yaml, "yaml")]
    return "\n\n".join(part for part in [*parts, escaped(record.date)] if part) + "\n"


def _pairs_and_class_gains(record: StudyRecord) -> list[str]:
    summary, parts = with_group_means(record.summary), []
    if (differences := pairs(summary)) is not None and differences.is_expanded:
        parts += [
            "## Any two arms",
            f"{escaped(differences.matrix.caption)}:",
            _figures_table(differences.matrix, summary),
        ]
    if (gains := class_gains(record, answer_arm(record))) is not None:
        parts += ["## Gains by class", escaped(f"{gains.arm} minus {gains.other}, on {gains.images}. {gains.sentence}")]
    return parts


def _curves(record: StudyRecord) -> list[str]:
    parts = []
    for curve in drawn_curves(record):
        parts += [f"## WiSE-FT: {escaped(curve.arm)}"]
        for table in curve.tables:
            parts += [f"{escaped(table.caption)}:", _figures_table(table, curve.summary, HEAD)]
    return parts


def _averages(record: StudyRecord) -> list[str]:
    section, summary = averages(record), record.summary
    if section is None:
        return []
    parts = [f"## Averaged over {section.averaged_over}"]
    for tables, minus in ((section.tables, {}), (section.gains, section.minus)):
        for table in tables.values():
            parts += [f"{escaped(table.caption)}:", _figures_table(table, summary, "trained on", minus)]
    return [*parts, escaped(section.note)]


def _figures_table(
    table: Table, summary: Summary, head: str = "arm", minus: Mapping[str, str] = MappingProxyType({})
) -> str:
    def cell(entry: Entry) -> str:
        text = entry.text + (EXTRAPOLATED if entry.extrapolated else "")
        return (f"**{text}**" if entry.best else text) + (f" ({entry.interval})" if entry.interval else "")

    heads = [c.name + ("†" if c.kind == "out" else "") for c in table.columns]
    rows = [[escaped(row_name(summary, arm, minus)), *map(cell, entries)] for arm, entries in table.rows]
    notes = ["", *(c.note for c in table.columns)]
    return markdown_table([head, *heads], [notes, *rows], escape=False)


def _baseline_lines_table(record: StudyRecord) -> str:
    heads = ["test set", "scale", "slope", "intercept", "R²", "baselines", "residual SD", "clean accuracy fitted, %"]
    rows = []
    for line in record.summary.lines.values():
        fit = [f"{value:.3f}" for value in (line.slope, line.intercept, line.r2)]
        fitted_on = [str(line.n), f"{line.residual_sd:.3f}", f"{line.lo:.1f}{EN_DASH}{line.hi:.1f}"]
        rows.append([line.test_set, line.transform, *fit, *fitted_on])
    return markdown_table(heads, rows)


def _arms(record: StudyRecord) -> str:
    rows = []
    for arm in record.arms:
        rows.append(
            [arm.name, mixture_in_words(arm), arm.architecture, arm.augmentation, f"{arm.steps:,}", str(arm.batch_size)]
        )
        rows[-1] += ["" if arm.val_top1 is None else number(arm.val_top1), arm_time(arm)]
    heads = ["arm", "images", "architecture", "augmentation", "steps", "batch size", "val, %", "time, one worker"]
    return markdown_table(heads, rows)


def _stages(record: StudyRecord) -> str:
    return markdown_table(
        ["stage", "time", "made"],
        [[s.stage, "found done" if s.reused else duration(s.seconds), f"{s.items:,} {s.unit}"] for s in record.stages],
    )


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]], escape: bool = True) -> str:
    """Write a table with a row of `heads`, "" without rows; what stands in it is escaped unless it is so already."""
    if not rows:
        return ""
    lines = [list(map(escaped, heads)), ["---"] * len(heads)]
    lines += [list(map(escaped, row)) if escape else list(row) for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def escaped(text: str) -> str:
    """Return `text` on one line, with nothing in it that Markdown or HTML reads as markup."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def fenced(code: str, language: str) -> str:
    """Write a block of `code`, whatever backticks it holds."""
    ticks = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, ticks + 1)
    return f"{fence}{language}\n{code.rstrip()}\n{fence}"
