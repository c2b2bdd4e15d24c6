"""Gains by class: what the arm of the answer gains over its reference on each class, and where this lies."""

from __future__ import annotations

import json
from dataclasses import dataclass

from genrobust.core import StudyRecord
from genrobust.report.groups import averaged
from genrobust.report.wording import count, number

EXTREMES = 3  # classes that are named at either end


@dataclass(frozen=True, slots=True)
class ClassGains:
    """Top-1 by class of `arm` and of `other`.

    `said` sums them up in words, and `over` names the images. `rows` are a class's name, its images, both accuracies,
    the gain and the number that sorts it, from the highest gain on. `data` is JSON for the page's script: "arm" and
    "other" (indices), "classes", "sizes" and "top1", which has a list an arm.
    """

    arm: str
    other: str
    over: str
    said: str
    rows: list[tuple[str, int, str, str, str, float]]
    data: str


def class_gains(record: StudyRecord, arm: str) -> ClassGains | None:
    """Return the gains of `arm` over its reference by class; None where there is none, or classes were not measured."""
    summary = averaged(record.summary, others=True) if record.summary.groups else record.summary
    other = summary.reference_of(arm)
    if arm not in summary.by_class or other not in summary.by_class or arm == other:
        return None
    names = record.class_names or tuple(f"class {i}" for i in range(len(summary.class_sizes)))
    pairs = zip(names, summary.class_sizes, summary.by_class[arm], summary.by_class[other], strict=True)
    rows = [
        (name, size, number(ours), number(theirs), number(ours - theirs, True), ours - theirs)
        for name, size, ours, theirs in pairs
        if ours is not None and theirs is not None
    ]
    rows.sort(key=lambda row: -row[-1])
    top1 = [[None if v is None else round(v, 2) for v in summary.by_class[name]] for name in summary.arms]
    places = {"arm": summary.arms.index(arm), "other": summary.arms.index(other)}
    data = {**places, "classes": names, "sizes": summary.class_sizes, "top1": top1}
    over = f"the images of {count(len(summary.shifts), 'shifted set')}" if summary.shifts else summary.clean
    return ClassGains(arm, other, over, _gains_in_words(arm, rows), rows, json.dumps(data, separators=(",", ":")))


def _gains_in_words(arm: str, rows: list[tuple[str, int, str, str, str, float]]) -> str:
    """On how many classes `arm` is better and worse, and which gain and lose most."""
    gains = [row[-1] for row in rows]
    better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    most = ", ".join(f"{row[0]} ({row[4]})" for row in rows[:EXTREMES] if row[-1] > 0)
    least = ", ".join(f"{row[0]} ({row[4]})" for row in rows[: -EXTREMES - 1 : -1] if row[-1] < 0)
    said = f"{arm} is better on {better} of {count(len(rows), 'class')} and worse on {worse}."
    return said + (f" Most gained: {most}." if most else "") + (f" Most lost: {least}." if least else "")
