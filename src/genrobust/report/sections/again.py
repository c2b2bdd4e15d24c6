"""The section on how to run the study again: command, recipe, times, environment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from genrobust.core import StageRecord, StudyRecord, count
from genrobust.report.nouns import ReportSection, plain_table
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import duration

NOUNS = {"packed": "packed copy"}  # of kinds of artifacts, where the kind is none


@SECTIONS.register("again")
def again(view: ReportView) -> ReportSection:
    """Return the command and the recipe, how long each stage took, and what made the results."""
    record, tables = view.record, []
    if record.stages:
        times = [_row(stage) for stage in record.stages]
        times.append(("all", duration(sum(stage.seconds for stage in record.stages)), ""))
        tables.append(plain_table(("stage", "time", "made"), times, "Time"))
    if facts := [*_made_by(record), *record.environment.items()]:
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
    if stage.reused:
        return stage.stage, "found done", ""
    rate = f", {stage.items / stage.seconds:,.1f}/s" if stage.seconds > 0 and stage.items else ""
    return stage.stage, duration(stage.seconds), f"{stage.items:,} {stage.unit}{rate}"


def _made_by(record: StudyRecord) -> list[tuple[str, str]]:
    """Return what made the results, as in "12 checkpoints, 3 datasets", and the versions; code where it differs."""
    kinds = Counter((made.kind, _versions(made.versions)) for made in record.made_by)
    counts: dict[str, list[str]] = {}
    for made in record.made_by:
        versions = _versions(made.versions)
        if kinds[made.kind, versions] > 1:  # the same libraries, and other code
            versions += f", code {made.versions.get('code', 'unknown')}"
        counts.setdefault(versions, []).append(count(made.count, NOUNS.get(made.kind, made.kind.removesuffix("s"))))
    return [(", ".join(things), versions) for versions, things in counts.items()]


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items() if name != "code")
