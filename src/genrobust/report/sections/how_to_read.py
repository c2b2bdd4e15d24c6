"""The section on how to read the report: what its numbers say and do not say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from genrobust.core import MIN_GROUPS, WIDEST_INTERVAL, ArmRecord, StudyRecord, Summary, count
from genrobust.report.arm_groups import averaged_over
from genrobust.report.report_section import ReportSection
from genrobust.report.report_view import SECTIONS, ReportView
from genrobust.report.wording import EXTRAPOLATED, TOO_FEW_GROUPS
from genrobust.robustness import EXPLAINED, Metric


@SECTIONS.register("limits")
def how_to_read(view: ReportView) -> ReportSection:
    """Return the facts that a reader must know."""
    return ReportSection("How to read it", 150, items=limits(view.record, view.metrics))


def limits(record: StudyRecord, metrics: Iterable[Metric]) -> tuple[str, ...]:
    """Return the facts that a reader must know to read the metrics right. The record's own notes come last."""
    summary = record.summary
    return (
        *_limits_of_comparing(record),
        *_limits_of_groups(summary),
        *_limits_of_arm_groups(record),
        *_limits_of_sets(summary),
        *_limits_of_metrics(summary, metrics),
        *_limits_of_lines(summary),
        *_limits_of_training(record),
        *record.notes,
    )


def _limits_of_comparing(record: StudyRecord) -> Iterator[str]:
    summary = record.summary
    shifts = len(summary.shifts)
    if len(summary.arms) > 1:
        yield "Numbers are rounded last, so a sum or a difference may be off by one in the last digit."
    if len(summary.arms) > 2:
        claims = ", except in the table of claims" if record.claims else ""
        yield (
            "Intervals are not corrected for the number of comparisons: about one in twenty misses the true value by "
            f"chance{claims}."
        )
    if shifts > 1:
        yield (
            f"The first interval of a mean is for these {shifts} shifts. The second interval, over shifts like these, "
            f"estimates the gain on other shifts of this kind, from only {shifts} (Student's t over the differences on "
            "each). It is at least as wide as the first. If it includes zero, the answer is about these shifts alone."
        )


def _limits_of_groups(summary: Summary) -> Iterator[str]:
    """Yield the limits of few groups of images, such as their designers."""
    groups = {test: summary.score("top1", summary.arms[0], test).groups for test in summary.tests}
    grouped = [f"{count(number, 'group')} in {test}" for test, number in groups.items() if number]
    if not grouped:
        return
    yield (
        "Test images come in groups, such as the images of one designer or the copies of one picture, and images of a "
        "group resemble each other. So intervals are over groups, by Student's t if there are few: "
        f"{', '.join(grouped)}."
    )
    if not all(score.has_interval for score in summary.scores.values()):
        yield (
            f"A score shows “{TOO_FEW_GROUPS}” instead of its interval if that is over fewer than {MIN_GROUPS} groups "
            f"and wider than {WIDEST_INTERVAL:.0f} points. Such a difference may be chance. "
            "results.json has all intervals."
        )
    ungrouped = [test for test, number in groups.items() if not number]
    if ungrouped:
        yield (
            f"Intervals on {', '.join(ungrouped)} are over images: all are in one group, or their groups are unknown."
        )


def _limits_of_arm_groups(record: StudyRecord) -> Iterator[str]:
    if record.summary.groups:
        yield (
            f"Averages over {averaged_over(record)} give each arm of a group the same weight. Their intervals also "
            "resample the arms of a group of three or more. Intervals of a smaller group are for its arms alone."
        )


def _limits_of_sets(summary: Summary) -> Iterator[str]:
    subsets = [name for name in summary.tests if summary.paired[name] != summary.clean]
    if subsets:
        yield (
            f"Test sets without the same classes as {summary.clean} ({', '.join(subsets)}) are scored with logits "
            "restricted to their own classes, and compared with the clean images of these classes."
        )
    for name, why in summary.left_out.items():
        yield f"{name} is left out of every mean: {why}."
    shared = summary.protocols[summary.clean]
    yield f"Test images are prepared as follows. {shared}."
    for name, words in summary.protocols.items():
        if words != shared:
            yield f"{name} differs. {words}."


def _limits_of_metrics(summary: Summary, metrics: Iterable[Metric]) -> Iterator[str]:
    """Yield the definition of each metric, and the test sets on which it is not shown."""
    measured = {key.metric for key in summary.scores}
    for metric in metrics:
        if metric.name in measured:
            yield f"{metric.title} is {metric.note}."
        gaps = summary.gaps.get(metric.name, {})
        for reason, tests in _by_reason(gaps, summary.tests).items():
            yield f"{metric.title} is not shown on {', '.join(tests)}: {reason}."


def _by_reason(gaps: Mapping[str, str], tests: Iterable[str]) -> dict[str, list[str]]:
    """Return the `tests` with a gap, by the reason of the gap."""
    found: dict[str, list[str]] = {}
    for test, reason in gaps.items():
        if test in tests:
            found.setdefault(reason, []).append(test)
    return found


def _limits_of_lines(summary: Summary) -> Iterator[str]:
    if not summary.lines:
        yield "No effective robustness: no baseline models were scored on these test sets."
        return
    yield (
        f"{EXTRAPOLATED} marks extrapolation: a clean accuracy is outside the range that the line was fitted on, by "
        "more than its standard error. An arm with such a value in the mean has no mean effective robustness, and a "
        "claim about one is undecided."
    )
    unexplained = [test for test, line in summary.lines.items() if line.r2 < EXPLAINED]
    if unexplained:
        yield (
            f"The baseline lines of {', '.join(unexplained)} explain less than half of the variance, so means of "
            "effective robustness leave these sets out."
        )


def _limits_of_training(record: StudyRecord) -> Iterator[str]:
    arms = {arm.name: arm for arm in record.arms}

    def steps_of(arm: ArmRecord) -> int:
        if not arm.started_from:
            return arm.steps
        return arm.steps + steps_of(arms[arm.started_from])

    steps = {steps_of(arm) for arm in record.arms}
    if len(steps) == 1:
        yield f"Every arm trained for the same {count(steps.pop(), 'step')}."
    elif steps:
        yield "Arms trained for different numbers of steps, so longer training may explain part of a difference."
