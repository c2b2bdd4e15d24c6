"""The section on images that every classifier gets wrong."""

from __future__ import annotations

from genrobust.core import count
from genrobust.report.page_templates import unbroken
from genrobust.report.report_section import ReportSection, template_of
from genrobust.report.report_view import SECTIONS, ReportView
from genrobust.report.thumbnails import Thumbnail, data_uri


@SECTIONS.register("missed")
def missed(view: ReportView) -> ReportSection | None:
    """Return the images by test set, with the number of all such images in it."""
    by_test: dict[str, list[Thumbnail]] = {}
    for picture in view.record.missed:
        alt = f"{picture.test_set}: {picture.key}"
        caption = unbroken(f"{picture.class_name}, taken for {picture.predicted}")
        by_test.setdefault(picture.test_set, []).append(Thumbnail(data_uri(picture.data), alt, caption))
    if not by_test:
        return None
    summary = view.summary
    shown = []
    for test, pictures in by_test.items():
        images = count(summary.score("top1", summary.arms[0], test).n, "image")
        shown.append((test, f"{summary.missed_counts[test]:,} of {images}", pictures))
    return ReportSection(
        title="Images that every classifier gets wrong",
        order=80,
        label="Hardest images",
        lead="Test images that all classifiers get wrong, with the class that most of them predict and their share. "
        "Some may be labeling errors.",
        template=template_of(__file__),
        values={"missed": shown},
    )
