"""The section on single classes: what the arm of the answer gains over its reference on each, precision and recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from genrobust.core import ALL_SHIFTS, ClassReport
from genrobust.report.nouns import PAGES, ReportSection, template_beside
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import count, number

EXTREMES = 3  # classes that are named at either end
Rows = list[tuple[str, int, float, tuple[float | None, ...]]]  # a class, its images, the gain, and what else is shown


@SECTIONS.register("classes")
def classes(view: ReportView) -> ReportSection | None:
    """Return what the arm of the answer gains over its reference on each class; None where there is none.

    `rows` go from the highest gain on.
    """
    summary, names, arm = view.overview, view.record.class_names, view.answer.arm
    other = summary.reference_of(arm)
    if arm not in summary.by_class or other not in summary.by_class or arm == other:
        return None
    columns = {f"{of}, %": summary.by_class[of] for of in (arm, other)}
    for side, reports in reversed(summary.class_reports.items()):
        columns |= _columns(reports, (arm, other), side, recall=side != (ALL_SHIFTS if summary.shifts else side))
    measured = zip(
        names,
        summary.class_sizes,
        summary.by_class[arm],
        summary.by_class[other],
        zip(*columns.values(), strict=True),
        strict=True,
    )
    rows: Rows = [
        (name, size, ours - theirs, row)
        for name, size, ours, theirs, row in measured
        if ours is not None and theirs is not None
    ]
    rows.sort(key=lambda row: -row[2])
    images = f"the images of {count(len(summary.shifts), 'shifted set')}" if summary.shifts else summary.clean
    sentence = _in_words(arm, [(name, gain) for name, _, gain, _ in rows])
    values = {"arm": arm, "other": other, "images": images, "sentence": sentence, "rows": rows}
    return ReportSection(
        title="Gains by class",
        order=70,
        label="By class",
        note=f"{arm} minus {other}, on {images}. {sentence}",
        template=template_beside(__file__),
        values={**values, "columns": list(columns)},
        forms=PAGES,
    )


def _columns(
    reports: Mapping[str, ClassReport], arms: Sequence[str], side: str, recall: bool
) -> dict[str, tuple[float | None, ...]]:
    """Precision by class of each arm, and `recall`, which is top-1 accuracy by class, where it is not shown anyway."""
    recalls = {f"recall on {side}: {arm}": reports[arm].recall for arm in arms if recall}
    return recalls | {f"precision on {side}: {arm}": reports[arm].precision for arm in arms}


def _in_words(arm: str, gains: list[tuple[str, float]]) -> str:
    """Say on how many classes `arm` is better and worse, and which gain and lose most."""
    better, worse = sum(gain > 0 for _, gain in gains), sum(gain < 0 for _, gain in gains)
    most = ", ".join(f"{name} ({number(gain, True)})" for name, gain in gains[:EXTREMES] if gain > 0)
    least = ", ".join(f"{name} ({number(gain, True)})" for name, gain in gains[: -EXTREMES - 1 : -1] if gain < 0)
    sentence = f"{arm} is better on {better} of {count(len(gains), 'class')} and worse on {worse}."
    return sentence + (f" Most gained: {most}." if most else "") + (f" Most lost: {least}." if least else "")
