"""The report as Markdown: the same answer, tables and limits, without figures and pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence

from genrobust.data import StudyRecord, Summary
from genrobust.report.tables import Entry, Table, accuracy_table, difference_table, robustness_table
from genrobust.report.wording import EN_DASH, answer, duration, limits, row_name

_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~&])")  # what Markdown or the HTML in it might read as markup


def markdown(record: StudyRecord) -> str:
    """The report of `record` as GitHub-flavoured Markdown. Names are escaped; code is fenced."""
    summary = record.summary
    parts = [f"# {_escaped(record.title)}", _escaped(record.question), f"**{_escaped(' '.join(answer(record)))}**"]
    parts += ["## Top-1 accuracy, percent", _figures(accuracy_table(summary), summary)]
    robustness = robustness_table(summary)
    if robustness:
        parts += ["## Effective robustness, points", _figures(robustness, summary)]
    for figure, name in (("top1", "top-1"), ("er", "effective robustness")):
        table = difference_table(summary, figure)
        if table:
            parts += [f"## Difference from {_escaped(summary.reference)} in {name}, points", _figures(table, summary)]
    if summary.lines:
        parts += ["## Baseline lines", _lines(record)]
    parts += ["## What each arm trained on", _arms(record)]
    parts += ["## How to read it", "\n".join(f"- {_escaped(note)}" for note in limits(record))]
    parts += ["## Time", _stages(record)]
    parts += ["## Environment", _rows(["", ""], [[name, fact] for name, fact in record.environment.items()])]
    parts += ["## How to run it again", _fenced(record.command, "sh"), _fenced(record.recipe_yaml, "yaml")]
    return "\n\n".join(part for part in [*parts, _escaped(record.date)] if part) + "\n"


def _figures(table: Table, summary: Summary) -> str:
    def shown(entry: Entry) -> str:
        text = entry.text + ("°" if entry.extrapolated else "")
        return (f"**{text}**" if entry.best or entry.sure else text) + (
            f" ({entry.interval})" if entry.interval else ""
        )

    heads = [c.name + ("†" if c.kind == "out" else "") for c in table.columns]
    rows = [[_escaped(row_name(summary, arm)), *map(shown, entries)] for arm, entries in table.rows]
    notes = ["", *(c.note for c in table.columns)]
    return _rows(["arm", *heads], [notes, *rows], escape=False)


def _lines(record: StudyRecord) -> str:
    heads = ["test set", "scale", "slope", "intercept", "R²", "baselines", "residual SD", "clean accuracy fitted, %"]
    return _rows(
        heads,
        [
            [
                line.test_set,
                line.transform,
                f"{line.slope:.3f}",
                f"{line.intercept:.3f}",
                f"{line.r2:.3f}",
                str(line.n),
                f"{line.residual_sd:.3f}",
                f"{line.lo:.1f}{EN_DASH}{line.hi:.1f}",
            ]
            for line in record.summary.lines.values()
        ],
    )


def _arms(record: StudyRecord) -> str:
    return _rows(
        ["arm", "images", "architecture", "augmentation", "steps", "batch size"],
        [
            [
                arm.name,
                " + ".join(f"{n:,} {source}" for source, n in arm.parts.items()),
                arm.architecture,
                arm.augmentation,
                f"{arm.steps:,}",
                str(arm.batch_size),
            ]
            for arm in record.arms
        ],
    )


def _stages(record: StudyRecord) -> str:
    return _rows(
        ["stage", "time", "made"],
        [[s.stage, "found done" if s.reused else duration(s.seconds), f"{s.items:,} {s.unit}"] for s in record.stages],
    )


def _rows(heads: Sequence[str], rows: Sequence[Sequence[str]], escape: bool = True) -> str:
    if not rows:
        return ""
    plain = [list(map(_escaped, heads)), ["---"] * len(heads)]
    plain += [list(map(_escaped, row)) if escape else list(row) for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in plain)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _fenced(code: str, language: str) -> str:
    ticks = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, ticks + 1)
    return f"{fence}{language}\n{code.rstrip()}\n{fence}"
