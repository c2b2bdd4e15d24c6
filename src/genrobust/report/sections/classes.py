"""The section on single classes: what the arm of the answer gains over its reference on each, precision and recall."""

from __future__ import annotations

from genrobust.core import ALL_SHIFTS, count
from genrobust.report.nouns import Column, Entry, ReportSection, Table, template_beside
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import number

EXTREMES = 3  # classes that are named at either end


@SECTIONS.register("classes")
def classes(view: ReportView) -> ReportSection | None:
    """Return what the arm of the answer gains over its reference on each class, the highest gain first.

    None where there is none.
    """
    summary, names, arm = view.overview, view.record.class_names, view.answer.arm
    other, leading = summary.reference_of(arm), ALL_SHIFTS if summary.shifts else summary.clean
    reports = summary.class_reports.get(leading, {})
    if arm not in reports or other not in reports or arm == other:
        return None
    columns = {
        f"{what} on {side}: {of}": getattr(summary.class_reports[side][of], what)
        for side in dict.fromkeys((leading, *summary.class_reports))
        for what in ("recall", "precision")
        for of in (arm, other)
    }
    recalls = zip(reports[arm].recall, reports[other].recall, strict=True)
    gains = {i: a - b for i, (a, b) in enumerate(recalls) if a is not None and b is not None}
    order, sizes = sorted(gains, key=lambda i: -gains[i]), summary.class_sizes[leading]
    rows = tuple(
        (
            names[i],
            (
                Entry(sizes[i], f"{sizes[i]:,}"),
                Entry(gains[i], number(gains[i], True)),
                *(Entry(None) if (v := values[i]) is None else Entry(v, number(v)) for values in columns.values()),
            ),
        )
        for i in order
    )
    images = f"the images of {count(len(summary.shifts), 'shifted set')}" if summary.shifts else summary.clean
    lead = f"Top-1 in percent on {images}: {arm} minus {other}. A class has few images, so single gains are rough."
    sentence = _in_words(arm, [(names[i], gains[i]) for i in order])
    caption = f"Gain of {arm} over {other} in points; recall, the top-1 accuracy of a class, and precision in percent"
    return ReportSection(
        title="Gains by class",
        order=70,
        label="By class",
        lead=lead,
        note=f"{lead} {sentence}",
        template=template_beside(__file__),
        values={
            "sentence": sentence,
            "table": Table(tuple(map(Column, ("images", "gain", *columns))), rows, caption, head="class"),
        },
    )


def _in_words(arm: str, gains: list[tuple[str, float]]) -> str:
    """Say on how many classes `arm` is better and worse, and which gain and lose most."""
    better, worse = sum(gain > 0 for _, gain in gains), sum(gain < 0 for _, gain in gains)
    most = ", ".join(f"{name} ({number(gain, True)})" for name, gain in gains[:EXTREMES] if gain > 0)
    least = ", ".join(f"{name} ({number(gain, True)})" for name, gain in gains[: -EXTREMES - 1 : -1] if gain < 0)
    sentence = f"{arm} is better on {better} of {count(len(gains), 'class')} and worse on {worse}."
    return sentence + (f" Most gained: {most}." if most else "") + (f" Most lost: {least}." if least else "")
