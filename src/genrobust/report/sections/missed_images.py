"""The section on images that all classifiers get wrong, and on the mistakes of each arm."""

from __future__ import annotations

from collections.abc import Sequence

from genrobust.core import MissedPicture, count
from genrobust.report.page_templates import unbroken
from genrobust.report.report_section import ReportSection, template_of
from genrobust.report.report_view import SECTIONS, ReportView
from genrobust.report.thumbnails import Thumbnail, data_uri


@SECTIONS.register("missed")
def missed(view: ReportView) -> ReportSection | None:
    """Return the images that all get wrong, with the number of all such images, and the mistakes of each arm."""
    by_arm: dict[str, list[MissedPicture]] = {}
    for picture in view.record.missed:
        by_arm.setdefault(picture.arm, []).append(picture)
    if not by_arm:
        return None
    summary = view.summary
    of_all = []
    for test, shown in _by_test_set(by_arm.pop("", [])):
        images = count(summary.score("top1", summary.arms[0], test).n, "image")
        of_all.append((test, f"{summary.missed_counts[test]:,} of {images}", shown))
    of_arms = [(arm, _by_test_set(pictures)) for arm, pictures in by_arm.items()]
    return ReportSection(
        title="Images that classifiers get wrong",
        order=80,
        label="Mistakes",
        lead="Test images that every classifier gets wrong, with the class that most of them predict and their share. "
        "Some may be labeling errors. Below, by arm: the mistakes that its first seed is most confident of, with this "
        "confidence.",
        template=template_of(__file__),
        values={"of_all": of_all, "of_arms": of_arms},
    )


def _by_test_set(pictures: Sequence[MissedPicture]) -> list[tuple[str, list[Thumbnail]]]:
    """Return thumbnails by test set."""
    by_test: dict[str, list[Thumbnail]] = {}
    for picture in pictures:
        alt = f"{picture.test_set}: {picture.key}"
        caption = unbroken(f"{picture.class_name}, taken for {picture.predicted}")
        by_test.setdefault(picture.test_set, []).append(Thumbnail(data_uri(picture.data), alt, caption))
    return list(by_test.items())
