"""The section on how to read the report: what its numbers say and do not say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from genrobust.core import ArmRecord, StudyRecord, Summary, count
from genrobust.report.groups import averaged_over
from genrobust.report.nouns import ReportSection
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import EXTRAPOLATED
from genrobust.robustness import EXPLAINED, Metric


@SECTIONS.register("limits")
def how_to_read(view: ReportView) -> ReportSection:
    """Return what a reader must know."""
    return ReportSection("How to read it", 150, items=limits(view.record, view.metrics))


def limits(record: StudyRecord, metrics: Iterable[Metric]) -> tuple[str, ...]:
    """Return what a reader must know to read the metrics right; the record's own notes come last."""
    summary = record.summary
    return (
        *_limits_of_comparing(record),
        *_limits_of_sets(summary),
        *_limits_of_metrics(summary, metrics),
        *_limits_of_training(record),
        *record.notes,
    )


def _limits_of_comparing(record: StudyRecord) -> Iterator[str]:
    summary = record.summary
    if len(summary.arms) > 1:
        yield "Numbers are rounded last, so a sum or a difference may be off by one in the last digit."
    if len(summary.arms) > 2:
        claims = ", except in the table of claims" if record.claims else ""
        yield (
            "Intervals are not corrected for the number of comparisons: about one in twenty misses the true value by "
            f"chance{claims}."
        )
    if len(summary.shifts) > 1:
        yield (
            f"Intervals of a mean are for these {len(summary.shifts)} shifts. Those over shifts like these have the "
            "shift as their unit: Student's t over the differences on each. Where that one includes zero, the answer "
            "is about these shifts alone."
        )
    yield from _limits_of_groups(summary)
    if summary.groups:
        yield (
            f"Averages over {averaged_over(record)} give each arm of a group the same weight. Their intervals also "
            "resample the arms of a group of three or more; those of a smaller group are for these arms alone."
        )


def _limits_of_groups(summary: Summary) -> Iterator[str]:
    """Yield what the number of groups of images, such as their designers, allows one to say."""
    groups = {test: summary.score("top1", summary.arms[0], test).groups for test in summary.tests}
    if not any(groups.values()):
        return
    yield (
        "Test images come in groups, such as those of one designer or the copies of one picture, and images of a group "
        "resemble each other. So intervals are over groups, by Student's t where these are few: "
        + ", ".join(f"{count(n, 'group')} in {test}" for test, n in groups.items() if n)
        + "."
    )
    if alone := [test for test, n in groups.items() if not n]:
        yield f"Intervals on {', '.join(alone)} are over images: these are of one group, or their groups are unknown."


def _limits_of_sets(summary: Summary) -> Iterator[str]:
    subsets = [name for name in summary.tests if summary.paired[name] != summary.clean]
    if subsets:
        yield (
            f"Test sets without the same classes as {summary.clean} ({', '.join(subsets)}) are scored with logits "
            "restricted to their own, and compared with the clean images of these."
        )
    for name, why in summary.left_out.items():
        yield f"{name} is left out of every mean: {why}."
    shared = summary.protocols[summary.clean]
    yield f"Test images are prepared as follows. {shared}."
    for name, words in summary.protocols.items():
        if words != shared:
            yield f"{name} differs. {words}."


def _limits_of_metrics(summary: Summary, metrics: Iterable[Metric]) -> Iterator[str]:
    measured = {key.metric for key in summary.scores}
    for metric in metrics:
        if metric.name in measured:
            yield f"{metric.title} is {metric.note}."
        tests_of: dict[str, list[str]] = {}
        for test, reason in summary.gaps.get(metric.name, {}).items():
            tests_of.setdefault(reason, []).extend([test] if test in summary.tests else [])
        for reason, tests in tests_of.items():
            if tests:
                yield f"{metric.title} is not shown on {', '.join(tests)}: {reason}."
    if summary.lines:
        yield (
            f"{EXTRAPOLATED} marks extrapolation: a clean accuracy lies outside the range that the line was fitted on, "
            "by more than its standard error. An arm with such a value in the mean has no mean effective robustness, "
            "and a claim about one is undecided."
        )
        if weak := [test for test, line in summary.lines.items() if line.r2 < EXPLAINED]:
            yield (
                f"The baseline lines of {', '.join(weak)} explain less than half of the variance, so means of "
                "effective robustness leave these sets out."
            )
    else:
        yield "No effective robustness: no baseline models were scored on these test sets."


def _limits_of_training(record: StudyRecord) -> Iterator[str]:
    arms = {arm.name: arm for arm in record.arms}

    def steps_of(arm: ArmRecord) -> int:
        return arm.steps + (steps_of(arms[arm.started_from]) if arm.started_from else 0)

    steps = {steps_of(arm) for arm in record.arms}
    if len(steps) == 1:
        yield f"Every arm trained for the same {count(steps.pop(), 'step')}."
    elif steps:
        yield "Arms trained for different numbers of steps, so longer training may explain part of a difference."
