"""The groups of a study's arms, each as if it were one arm, so that tables and sentences can be about groups."""

from __future__ import annotations

from dataclasses import replace

from genrobust.core import StudyRecord, Summary


def with_group_means(summary: Summary) -> Summary:
    """Return `summary` with its groups in place of their arms, followed by the arms in no group.

    An arm of a group stays where another group is compared with it. A summary without groups is returned as it is.
    """
    if not summary.groups:
        return summary
    compared_with = {summary.reference_of(group) for group in summary.groups}
    grouped = {arm for members in summary.groups.values() for arm in members} - compared_with
    ungrouped = tuple(arm for arm in summary.arms if arm not in grouped)
    group_references = (other for group in summary.groups if (other := summary.reference_of(group)) != group)
    reference = next(group_references, next(iter(summary.groups)))
    pretrained = tuple(group for group, members in summary.groups.items() if set(members) & set(summary.pretrained))
    by_image_group = {
        test: of_arms
        | {
            group: tuple(sum(top1) / len(members) for top1 in zip(*(of_arms[arm] for arm in members), strict=True))
            for group, members in summary.groups.items()
        }
        for test, of_arms in summary.by_group.items()
    }
    return replace(
        summary,
        arms=(*summary.groups, *ungrouped),
        reference=reference,
        groups={},
        pretrained=(*pretrained, *summary.pretrained),
        by_group=by_image_group,
    )


def with_group_records(record: StudyRecord) -> StudyRecord:
    """Return `record` with its groups in place of their arms, as `with_group_means`; one without groups as it is.

    Each record copies the group's first arm, except `name` and `val_top1`, their mean (None if one arm has none).
    """
    if not record.summary.groups:
        return record
    arms = {arm.name: arm for arm in record.arms}
    groups = []
    for group, members in record.summary.groups.items():
        val = [top1 for arm in members if (top1 := arms[arm].val_top1) is not None]
        top1 = sum(val) / len(val) if len(val) == len(members) else None
        groups.append(replace(arms[members[0]], name=group, val_top1=top1))
    summary = with_group_means(record.summary)
    return replace(record, summary=summary, arms=(*groups, *(arms[name] for name in summary.arms if name in arms)))


def averaged_over(record: StudyRecord) -> str:
    """Name what the groups average over: "architectures" where the arms of each differ in these, else "arms"."""
    architecture = {arm.name: arm.architecture for arm in record.arms}
    architectures = [[architecture[arm] for arm in arms] for arms in record.summary.groups.values()]
    return "architectures" if all(len(set(group)) == len(group) for group in architectures) else "arms"
