"""The groups of a study's arms, each as if it were one arm, so that tables and sentences can be about groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from genrobust.core import MEAN_OF_SHIFTS, Difference, Group, Score, StudyRecord, Summary


def averaged(summary: Summary, others: bool = False) -> Summary:
    """`summary` with its groups in the place of arms; with `others`, followed by the arms that are in none."""
    group_of = {arm: group.name for group in summary.groups for arm in group.arms}
    rest = tuple(arm for arm in summary.arms if arm not in group_of) if others else ()
    references = {group.name: group.reference or group.name for group in summary.groups}

    def by_set(figure: Callable[[Group], Mapping[str, Score]]) -> dict[tuple[str, str], Score]:
        return {(g.name, test): s for g in summary.groups for test, s in figure(g).items() if test != MEAN_OF_SHIFTS}

    def means(figure: Callable[[Group], Mapping[str, Score]]) -> dict[str, Score]:
        return {g.name: figure(g)[MEAN_OF_SHIFTS] for g in summary.groups if MEAN_OF_SHIFTS in figure(g)}

    gains = [
        Difference(group.name, group.reference, test, figure, score)
        for group in summary.groups
        for figure, of_group in (("top1", group.top1_gain), ("er", group.er_gain))
        for test, score in of_group.items()
    ]
    return replace(
        summary,
        arms=(*references, *rest),
        reference=next((g.reference for g in summary.groups if g.reference), summary.groups[0].name),
        references=references | {arm: summary.reference_of(arm) for arm in rest},
        cells=tuple(replace(cell, arm=group_of.get(cell.arm, cell.arm)) for cell in summary.cells),
        arm_top1=summary.arm_top1 | by_set(lambda group: group.top1),
        arm_er=summary.arm_er | by_set(lambda group: group.er),
        mean_top1=summary.mean_top1 | means(lambda group: group.top1),
        mean_er=summary.mean_er | means(lambda group: group.er),
        differences=(*gains, *summary.differences),
        multi_id=None,
        groups=(),
    )


def averaged_record(record: StudyRecord) -> StudyRecord:
    """`record` with its groups in the place of arms."""
    arms = {arm.name: arm for arm in record.arms}
    groups = tuple(replace(arms[group.arms[0]], name=group.name) for group in record.summary.groups)
    return replace(record, summary=averaged(record.summary), arms=groups)


def averaged_over(record: StudyRecord) -> str:
    """What the groups average over: "architectures" where the arms of each differ in these, else "arms"."""
    architecture = {arm.name: arm.architecture for arm in record.arms}
    members = [[architecture[arm] for arm in group.arms] for group in record.summary.groups]
    return "architectures" if all(len(set(of)) == len(of) for of in members) else "arms"
