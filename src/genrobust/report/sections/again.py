"""The section on how to run the study again: command, recipe, times, environment."""

from __future__ import annotations

from genrobust.core import StageRecord
from genrobust.report.nouns import PAGES, ReportSection, plain_table, template_beside
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import duration, made_by_rows


@SECTIONS.register("again")
def again(view: ReportView) -> ReportSection:
    """Return the command and the recipe, how long each stage took, and what made the results."""
    record = view.record
    longest = max((stage.seconds for stage in record.stages), default=0)
    facts = [*made_by_rows(record), *record.environment.items()]
    tables = [plain_table(("", ""), facts, "Environment")] if facts else []
    if record.stages:
        times = [[s.stage, _time(s), f"{s.items:,} {s.unit}"] for s in record.stages]
        tables.insert(0, plain_table(("stage", "time", "made"), times, "Time"))
    return ReportSection(
        title="How to run it again",
        order=160,
        label="Run it again",
        code=[("sh", record.command), ("yaml", record.recipe_yaml)],
        tables=tables,
        template=template_beside(__file__),
        values={
            "stages": [(s, _time(s), round(100 * s.seconds / (longest or 1), 1), _rate(s)) for s in record.stages],
            "total": duration(sum(stage.seconds for stage in record.stages)),
            "facts": facts,
        },
        by_table=True,
        forms=PAGES,
    )


def _time(stage: StageRecord) -> str:
    return "found done" if stage.reused else duration(stage.seconds)


def _rate(stage: StageRecord) -> str:
    measured = stage.seconds > 0 and not stage.reused and stage.items
    return f"{stage.items / stage.seconds:,.1f}/s" if measured else ""
