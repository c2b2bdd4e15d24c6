"""The section on the qualities of the images of each source."""

from __future__ import annotations

from genrobust.core import StudyRecord
from genrobust.report.nouns import ReportSection, plain_table
from genrobust.report.page import format_number
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import EN_DASH, number, span

QUALITY_HEADS = (
    "source", "images", "accuracy score, %", "FID", "KID x 1,000", "precision, %", "recall, %", "distance",
    "Vendi score", "CLIP score", "label agreement, %",
)  # fmt: skip
_FORMATS = {  # the digits of each metric, and what it is multiplied by
    "fid": (3, 1), "kid": (1, 1000), "precision": (0, 100), "recall": (0, 100), "distance": (3, 1), "vendi": (2, 1),
    "clip_score": (1, 1), "agreement": (0, 100),
}  # fmt: skip


@SECTIONS.register("images")
def images(view: ReportView) -> ReportSection | None:
    """Return a row for each source; None where no images were measured."""
    if not view.record.qualities:
        return None
    return ReportSection(
        title="What the images are like",
        order=120,
        label="Images",
        tables=[plain_table(QUALITY_HEADS, quality_rows(view.record), "The images of each source")],
        note=quality_note(view.record),
    )


def quality_rows(record: StudyRecord) -> list[list[str]]:
    """Return one row of `QUALITY_HEADS` a source.

    The classification accuracy score (Ravuri and Vinyals, 2019) is the top-1 on the clean test set of the first arm
    that trained, from scratch, on all images of this source and no others.
    """
    rows, summary = [], record.summary
    for quality in record.qualities:
        trained_alone = {quality.source: quality.made}
        alone_of = (arm for arm in record.arms if arm.parts == trained_alone and not arm.started_from)
        arm = next((arm.name for arm in alone_of if arm.name not in summary.pretrained), None)
        alone = None if arm is None else summary.score("top1", arm, summary.clean)
        score = EN_DASH if alone is None else f"{number(alone.value)} ({span(alone)})"
        metrics = [_metric(getattr(quality, name), digits, factor) for name, (digits, factor) in _FORMATS.items()]
        rows.append([quality.source, f"{quality.made:,}", score, *metrics])
    return rows


def quality_note(record: StudyRecord) -> str:
    """Say how the metrics of `quality_rows` were measured."""
    first = record.qualities[0]
    within_classes = (
        " Distance and Vendi score are within classes, at equal numbers for all sources, on average "
        f"{first.per_class:.0f} images of each class: the mean distance of two images, and how many different images "
        "they amount to."
    )
    return (
        "The accuracy score is top-1 on the clean test set of a classifier that trained on this source alone. The "
        "other metrics are over CLIP embeddings. FID, KID, precision and recall compare with the real training images, "
        "at equal numbers for all other sources; precision is the share of images among the real ones, recall the "
        f"share of real ones among the images.{within_classes if first.per_class else ''} The CLIP score is the mean "
        "cosine of image and class times 100, label agreement how often the CLIP takes an image for its class."
    )


def _metric(value: float | None, digits: int, factor: float) -> str:
    return format_number(None if value is None else factor * value, digits)
