"""The section on how to run the study again: command, recipe, times, environment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from genrobust.core import StageRecord, StudyRecord, count
from genrobust.report.report_section import ReportSection, plain_table
from genrobust.report.report_view import SECTIONS, ReportView
from genrobust.report.wording import duration

# The noun of a kind of artifacts, if the kind is none.
NOUNS = {"packed": "packed copy"}


@SECTIONS.register("again")
def run_again(view: ReportView) -> ReportSection | None:
    """Return the command and the recipe, the time of each stage, and the versions that made the results."""
    record = view.record
    tables = []
    if record.stages:
        times = [_time_row(stage) for stage in record.stages]
        total = sum(stage.seconds for stage in record.stages)
        times.append(("all", duration(total), ""))
        tables.append(plain_table(("stage", "time", "made"), times, "Time"))
    facts = [*_made_by(record), *record.environment.items()]
    if facts:
        tables.append(plain_table(("", ""), facts, "Environment"))
    return ReportSection(
        title="How to run it again",
        order=160,
        label="Run it again",
        code=[("sh", record.command), ("yaml", record.recipe_yaml)],
        tables=tables,
        note="The folder of this report also has results.csv, results.json, and each plot as an SVG file.",
    )


def _time_row(stage: StageRecord) -> tuple[str, str, str]:
    if stage.reused:
        return stage.stage, "found done", ""
    made = f"{stage.items:,} {stage.unit}"
    if stage.seconds > 0 and stage.items:
        made += f", {stage.items / stage.seconds:,.1f}/s"
    return stage.stage, duration(stage.seconds), made


def _made_by(record: StudyRecord) -> list[tuple[str, str]]:
    """Return rows of artifacts, "12 checkpoints, 3 datasets", and the versions that made them.

    The hash of the code is shown only if artifacts of one kind differ in nothing else.
    """
    kinds = Counter((made.kind, _versions_in_words(made.versions)) for made in record.made_by)
    artifacts: dict[str, list[str]] = {}
    for made in record.made_by:
        versions = _versions_in_words(made.versions)
        if kinds[made.kind, versions] > 1:
            versions += f", code {made.versions.get('code', 'unknown')}"
        noun = NOUNS.get(made.kind, made.kind.removesuffix("s"))
        artifacts.setdefault(versions, []).append(count(made.count, noun))
    return [(", ".join(things), versions) for versions, things in artifacts.items()]


def _versions_in_words(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items() if name != "code")
