"""The section on how to run the study again: command, recipe, times, environment."""

from __future__ import annotations

from genrobust.core import StageRecord
from genrobust.report.nouns import ReportSection, plain_table
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import duration, made_by_rows


@SECTIONS.register("again")
def again(view: ReportView) -> ReportSection:
    """Return the command and the recipe, how long each stage took, and what made the results."""
    record, tables = view.record, []
    if record.stages:
        times = [_row(stage) for stage in record.stages]
        times.append(("all", duration(sum(stage.seconds for stage in record.stages)), ""))
        tables.append(plain_table(("stage", "time", "made"), times, "Time"))
    if facts := [*made_by_rows(record), *record.environment.items()]:
        tables.append(plain_table(("", ""), facts, "Environment"))
    return ReportSection(
        title="How to run it again",
        order=160,
        label="Run it again",
        code=[("sh", record.command), ("yaml", record.recipe_yaml)],
        tables=tables,
        note="Beside the report lie results.csv, results.json, and each plot as an SVG file.",
    )


def _row(stage: StageRecord) -> tuple[str, str, str]:
    made = f"{stage.items:,} {stage.unit}"
    if stage.reused:
        return stage.stage, "found done", made
    rate = f", {stage.items / stage.seconds:,.1f}/s" if stage.seconds > 0 and stage.items else ""
    return stage.stage, duration(stage.seconds), made + rate
