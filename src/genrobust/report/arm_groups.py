"""The groups of a study's arms, each as if it were one arm, so that tables and sentences can be about groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

from genrobust.core import StudyRecord, Summary


def with_group_means(summary: Summary) -> Summary:
    """Return `summary` with its groups instead of their arms, followed by the arms in no group.

    An arm of a group stays if another group is compared with it. A summary without groups is returned as it is.
    """
    groups = summary.groups
    if not groups:
        return summary
    compared_with = {summary.reference_of(group) for group in groups}
    grouped = set(chain.from_iterable(groups.values())) - compared_with
    ungrouped = tuple(arm for arm in summary.arms if arm not in grouped)
    compared = [group for group in groups if summary.reference_of(group) != group]
    reference = summary.reference_of(compared[0]) if compared else next(iter(groups))
    pretrained = tuple(group for group, members in groups.items() if set(members) & set(summary.pretrained))
    by_group = {}
    for test, accuracies in summary.by_group.items():
        means = {group: _mean_accuracies(accuracies, members) for group, members in groups.items()}
        by_group[test] = accuracies | means
    return replace(
        summary,
        arms=(*groups, *ungrouped),
        reference=reference,
        groups={},
        pretrained=(*pretrained, *summary.pretrained),
        by_group=by_group,
    )


def _mean_accuracies(accuracies: Mapping[str, Sequence[float]], arms: Sequence[str]) -> tuple[float, ...]:
    """Return the mean over `arms` of the accuracy on each group of images."""
    of_arms = [accuracies[arm] for arm in arms]
    return tuple(sum(top1) / len(arms) for top1 in zip(*of_arms, strict=True))


def with_group_records(record: StudyRecord) -> StudyRecord:
    """Return `record` with its groups instead of their arms, as `with_group_means` does.

    The record of a group copies its first arm, except `name` and `val_top1`, the mean (None if one arm has none).
    """
    groups = record.summary.groups
    if not groups:
        return record
    arms = {arm.name: arm for arm in record.arms}
    group_records = []
    for group, members in groups.items():
        known = [arms[arm].val_top1 for arm in members]
        accuracies = [top1 for top1 in known if top1 is not None]
        if len(accuracies) == len(members):
            mean = sum(accuracies) / len(accuracies)
        else:
            mean = None
        group_records.append(replace(arms[members[0]], name=group, val_top1=mean))
    summary = with_group_means(record.summary)
    ungrouped = [arms[name] for name in summary.arms if name in arms]
    return replace(record, summary=summary, arms=(*group_records, *ungrouped))


def averaged_over(record: StudyRecord) -> str:
    """Return the unit that groups average over: "architectures" if all arms of each group differ in it, or "arms"."""
    architectures = {arm.name: arm.architecture for arm in record.arms}
    for members in record.summary.groups.values():
        different = {architectures[arm] for arm in members}
        if len(different) < len(members):
            return "arms"
    return "architectures"
