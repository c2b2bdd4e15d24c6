"""The section on single classes: the gain of the answer's arm over its reference on each, precision and recall."""

from __future__ import annotations

from collections.abc import Sequence

from genrobust.core import ALL_SHIFTS, Summary, count
from genrobust.report.report_section import Column, Entry, ReportSection, Table, template_of
from genrobust.report.report_view import SECTIONS, ReportView
from genrobust.report.wording import number

# Classes that are named at either end.
EXTREMES = 3
# Of a class, in percent; None without images.
Percents = Sequence[float | None]


@SECTIONS.register("classes")
def classes(view: ReportView) -> ReportSection | None:
    """Return the gain of the answer's arm over its reference on each class, the highest first. None without classes."""
    summary = view.overview
    arm = view.answer.arm
    other = summary.reference_of(arm)
    leading = ALL_SHIFTS if summary.shifts else summary.clean
    reports = summary.class_reports.get(leading, {})
    if arm not in reports or other not in reports or arm == other:
        return None
    names = view.record.class_names
    gains = _gains(reports[arm].recall, reports[other].recall)
    if summary.shifts:
        images = f"the images of {count(len(summary.shifts), 'shifted set')}"
    else:
        images = summary.clean
    lead = f"Top-1 in percent on {images}: {arm} minus {other}. A class has few images, so single gains are rough."
    sentence = _gains_in_words(arm, [(names[label], gain) for label, gain in gains])
    return ReportSection(
        title="Gains by class",
        order=70,
        label="By class",
        lead=lead,
        note=f"{lead} {sentence}",
        template=template_of(__file__),
        values={"sentence": sentence, "table": _table(summary, names, gains, (arm, other), leading)},
    )


def _gains(recalls: Percents, others: Percents) -> list[tuple[int, float]]:
    """Return the label of each class with images and its gain in points, the highest first."""
    gains = []
    for label, (recall, other) in enumerate(zip(recalls, others, strict=True)):
        if recall is not None and other is not None:
            gains.append((label, recall - other))
    return sorted(gains, key=lambda item: -item[1])


def _table(
    summary: Summary, names: Sequence[str], gains: Sequence[tuple[int, float]], pair: tuple[str, str], leading: str
) -> Table:
    """Return images, gain, and recall and precision of both arms on all images of each side, by class."""
    arm, other = pair
    percents: dict[str, Percents] = {}
    for side in dict.fromkeys((leading, *summary.class_reports)):
        reports = summary.class_reports[side]
        percents |= {f"recall on {side}: {name}": reports[name].recall for name in pair}
        percents |= {f"precision on {side}: {name}": reports[name].precision for name in pair}
    sizes = summary.class_sizes[leading]
    rows = []
    for label, gain in gains:
        entries = [Entry(sizes[label], f"{sizes[label]:,}"), Entry(gain, number(gain, True))]
        entries += [_percent_entry(of_classes[label]) for of_classes in percents.values()]
        rows.append((names[label], tuple(entries)))
    caption = f"Gain of {arm} over {other} in points; recall, the top-1 accuracy of a class, and precision in percent"
    columns = tuple(Column(name) for name in ("images", "gain", *percents))
    return Table(columns, tuple(rows), caption, head="class")


def _percent_entry(value: float | None) -> Entry:
    if value is None:
        return Entry(None)
    return Entry(value, number(value))


def _gains_in_words(arm: str, gains: Sequence[tuple[str, float]]) -> str:
    """Say on how many classes `arm` is better and worse, and which gain and lose most."""
    better = [(name, gain) for name, gain in gains if gain > 0]
    worse = [(name, gain) for name, gain in reversed(gains) if gain < 0]
    total = count(len(gains), "class")
    sentence = f"{arm} is better on {len(better)} of {total} and worse on {len(worse)}."
    if better:
        sentence += f" Most gained: {_name_classes(better[:EXTREMES])}."
    if worse:
        sentence += f" Most lost: {_name_classes(worse[:EXTREMES])}."
    return sentence


def _name_classes(gains: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{name} ({number(gain, True)})" for name, gain in gains)
