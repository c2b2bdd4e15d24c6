"""Gains by class: what the arm of the answer gains over its reference on each class, and where this lies."""

from __future__ import annotations

import json
from dataclasses import dataclass

from genrobust.core import StudyRecord
from genrobust.report.groups import with_group_means
from genrobust.report.wording import count, number

EXTREMES = 3  # classes that are named at either end


@dataclass(frozen=True, slots=True)
class ClassGain:
    """The top-1 of both arms on the `size` images of a class, in percent."""

    name: str
    size: int
    top1: float
    other_top1: float

    @property
    def gain(self) -> float:
        return self.top1 - self.other_top1


@dataclass(frozen=True, slots=True)
class ClassGains:
    """The gains of `arm` over `other` by class.

    Attributes:
        images: Names the images that they are measured on.
        sentence: Sums them up in words.
        rows: The classes, from the highest gain on.
        data: JSON for the page's script: "arm" and "other" (indices), "classes", "sizes" and "top1", a list an arm.
    """

    arm: str
    other: str
    images: str
    sentence: str
    rows: list[ClassGain]
    data: str


def class_gains(record: StudyRecord, arm: str) -> ClassGains | None:
    """Return the gains of `arm` over its reference by class; None where there is none."""
    summary = with_group_means(record.summary)
    other = summary.reference_of(arm)
    if arm not in summary.by_class or other not in summary.by_class or arm == other:
        return None
    pairs = zip(record.class_names, summary.class_sizes, summary.by_class[arm], summary.by_class[other], strict=True)
    rows = [
        ClassGain(name, size, ours, theirs)
        for name, size, ours, theirs in pairs
        if ours is not None and theirs is not None
    ]
    rows.sort(key=lambda row: -row.gain)
    top1 = [[None if v is None else round(v, 2) for v in summary.by_class[name]] for name in summary.arms]
    places = {"arm": summary.arms.index(arm), "other": summary.arms.index(other)}
    data = {**places, "classes": record.class_names, "sizes": summary.class_sizes, "top1": top1}
    images = f"the images of {count(len(summary.shifts), 'shifted set')}" if summary.shifts else summary.clean
    return ClassGains(arm, other, images, _gains_in_words(arm, rows), rows, json.dumps(data, separators=(",", ":")))


def _gains_in_words(arm: str, rows: list[ClassGain]) -> str:
    """Say on how many classes `arm` is better and worse, and which gain and lose most."""
    better, worse = sum(row.gain > 0 for row in rows), sum(row.gain < 0 for row in rows)
    most = ", ".join(f"{row.name} ({number(row.gain, True)})" for row in rows[:EXTREMES] if row.gain > 0)
    least = ", ".join(f"{row.name} ({number(row.gain, True)})" for row in rows[: -EXTREMES - 1 : -1] if row.gain < 0)
    sentence = f"{arm} is better on {better} of {count(len(rows), 'class')} and worse on {worse}."
    return sentence + (f" Most gained: {most}." if most else "") + (f" Most lost: {least}." if least else "")
