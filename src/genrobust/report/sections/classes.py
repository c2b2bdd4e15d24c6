"""The section on gains by class: what the arm of the answer gains over its reference, and where this lies."""

from __future__ import annotations

from genrobust.report.nouns import PAGES, ReportSection, template_beside
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import count, number

EXTREMES = 3  # classes that are named at either end


@SECTIONS.register("classes")
def classes(view: ReportView) -> ReportSection | None:
    """Return what the arm of the answer gains over its reference on each class; None where there is none.

    `rows` go from the highest gain on.
    """
    summary, names, arm = view.overview, view.record.class_names, view.answer.arm
    other = summary.reference_of(arm)
    if arm not in summary.by_class or other not in summary.by_class or arm == other:
        return None
    measured = zip(names, summary.class_sizes, summary.by_class[arm], summary.by_class[other], strict=True)
    rows = [
        (name, size, ours - theirs, ours, theirs)
        for name, size, ours, theirs in measured
        if ours is not None and theirs is not None
    ]
    rows.sort(key=lambda row: -row[2])
    images = f"the images of {count(len(summary.shifts), 'shifted set')}" if summary.shifts else summary.clean
    sentence = _in_words(arm, [(name, gain) for name, _, gain, *_ in rows])
    values = {"arm": arm, "other": other, "images": images, "sentence": sentence, "rows": rows}
    return ReportSection(
        title="Gains by class",
        order=70,
        label="By class",
        note=f"{arm} minus {other}, on {images}. {sentence}",
        template=template_beside(__file__),
        values=values,
        forms=PAGES,
    )


def _in_words(arm: str, gains: list[tuple[str, float]]) -> str:
    """Say on how many classes `arm` is better and worse, and which gain and lose most."""
    better, worse = sum(gain > 0 for _, gain in gains), sum(gain < 0 for _, gain in gains)
    most = ", ".join(f"{name} ({number(gain, True)})" for name, gain in gains[:EXTREMES] if gain > 0)
    least = ", ".join(f"{name} ({number(gain, True)})" for name, gain in gains[: -EXTREMES - 1 : -1] if gain < 0)
    sentence = f"{arm} is better on {better} of {count(len(gains), 'class')} and worse on {worse}."
    return sentence + (f" Most gained: {most}." if most else "") + (f" Most lost: {least}." if least else "")
