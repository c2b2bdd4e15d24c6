"""The section on gains by class: what the arm of the answer gains over its reference, and where this lies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from genrobust.core import Summary
from genrobust.report.nouns import PAGES, ReportSection, template_beside
from genrobust.report.view import SECTIONS, ReportView
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


@SECTIONS.register("classes")
def gains_by_class(view: ReportView) -> ReportSection | None:
    """Return the gains by class of the arm of the answer."""
    gains = class_gains(view.overview, view.record.class_names, view.answer.arm)
    if gains is None:
        return None
    return ReportSection(
        title="Gains by class",
        order=70,
        label="By class",
        note=f"{gains.arm} minus {gains.other}, on {gains.images}. {gains.sentence}",
        template=template_beside(__file__),
        values={"gains": gains},
        forms=PAGES,
    )


def class_gains(summary: Summary, class_names: Sequence[str], arm: str) -> ClassGains | None:
    """Return the gains of `arm` over its reference by class; None where there is none."""
    other = summary.reference_of(arm)
    if arm not in summary.by_class or other not in summary.by_class or arm == other:
        return None
    pairs = zip(class_names, summary.class_sizes, summary.by_class[arm], summary.by_class[other], strict=True)
    rows = [
        ClassGain(name, size, ours, theirs)
        for name, size, ours, theirs in pairs
        if ours is not None and theirs is not None
    ]
    rows.sort(key=lambda row: -row.gain)
    top1 = [[None if v is None else round(v, 2) for v in summary.by_class[name]] for name in summary.arms]
    places = {"arm": summary.arms.index(arm), "other": summary.arms.index(other)}
    data = {**places, "classes": class_names, "sizes": summary.class_sizes, "top1": top1}
    images = f"the images of {count(len(summary.shifts), 'shifted set')}" if summary.shifts else summary.clean
    return ClassGains(arm, other, images, _gains_in_words(arm, rows), rows, json.dumps(data, separators=(",", ":")))


def _gains_in_words(arm: str, rows: list[ClassGain]) -> str:
    """Say on how many classes `arm` is better and worse, and which gain and lose most."""
    better, worse = sum(row.gain > 0 for row in rows), sum(row.gain < 0 for row in rows)
    most = ", ".join(f"{row.name} ({number(row.gain, True)})" for row in rows[:EXTREMES] if row.gain > 0)
    least = ", ".join(f"{row.name} ({number(row.gain, True)})" for row in rows[: -EXTREMES - 1 : -1] if row.gain < 0)
    sentence = f"{arm} is better on {better} of {count(len(rows), 'class')} and worse on {worse}."
    return sentence + (f" Most gained: {most}." if most else "") + (f" Most lost: {least}." if least else "")
