"""The section on images that every classifier gets wrong."""

from __future__ import annotations

from genrobust.core import count
from genrobust.report.nouns import ReportSection, template_beside
from genrobust.report.page import Thumbnail, data_uri, unbroken
from genrobust.report.view import SECTIONS, ReportView


@SECTIONS.register("missed")
def missed(view: ReportView) -> ReportSection | None:
    """Return the images by test set, with how many there are in it."""
    by_test: dict[str, list[Thumbnail]] = {}
    for p in view.record.missed:
        caption = f"{p.test_set}: {p.key}"
        picture = Thumbnail(data_uri(p.data), caption, unbroken(f"{p.class_name}, taken for {p.predicted}"))
        by_test.setdefault(p.test_set, []).append(picture)
    if not by_test:
        return None
    summary, shown = view.summary, []
    for test, pictures in by_test.items():
        images = count(summary.score("top1", summary.arms[0], test).n, "image")
        shown.append((test, f"{summary.missed_counts[test]:,} of {images}", pictures))
    return ReportSection(
        title="Images that every classifier gets wrong",
        order=80,
        label="Hardest images",
        lead="Test images that all classifiers get wrong, with the class that most chose and their share. Some may be "
        "labeling errors.",
        template=template_beside(__file__),
        values={"missed": shown},
    )
