"""The section on single classes: what the arm of the answer gains over its reference on each, precision and recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from genrobust.core import ALL_SHIFTS, ClassReport
from genrobust.report.nouns import ReportSection, template_beside
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import count, number

EXTREMES = 3  # classes that are named at either end


@SECTIONS.register("classes")
def classes(view: ReportView) -> ReportSection | None:
    """Return what the arm of the answer gains over its reference on each class; None where there is none.

    `rows` go from the highest gain on.
    """
    summary, names, arm = view.overview, view.record.class_names, view.answer.arm
    other, leading = summary.reference_of(arm), ALL_SHIFTS if summary.shifts else summary.clean
    reports = summary.class_reports.get(leading, {})
    if arm not in reports or other not in reports or arm == other:
        return None
    recall = [reports[of].recall for of in (arm, other)]
    columns = _columns(reports, (arm, other), leading)
    for side, of_side in summary.class_reports.items():
        columns |= _columns(of_side, (arm, other), side)
    rows = [
        (name, size, ours - theirs, shown)
        for name, size, ours, theirs, shown in zip(
            names, summary.class_sizes[leading], *recall, zip(*columns.values(), strict=True), strict=True
        )
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
    )


def _columns(reports: Mapping[str, ClassReport], arms: Sequence[str], side: str) -> dict[str, tuple[float | None, ...]]:
    """Recall, which is top-1 accuracy by class, and precision of each arm."""
    recalls = {f"recall on {side}: {arm}": reports[arm].recall for arm in arms}
    return recalls | {f"precision on {side}: {arm}": reports[arm].precision for arm in arms}


def _in_words(arm: str, gains: list[tuple[str, float]]) -> str:
    """Say on how many classes `arm` is better and worse, and which gain and lose most."""
    better, worse = sum(gain > 0 for _, gain in gains), sum(gain < 0 for _, gain in gains)
    most = ", ".join(f"{name} ({number(gain, True)})" for name, gain in gains[:EXTREMES] if gain > 0)
    least = ", ".join(f"{name} ({number(gain, True)})" for name, gain in gains[: -EXTREMES - 1 : -1] if gain < 0)
    sentence = f"{arm} is better on {better} of {count(len(gains), 'class')} and worse on {worse}."
    return sentence + (f" Most gained: {most}." if most else "") + (f" Most lost: {least}." if least else "")
