"""The section on the qualities of the images of each source."""

from __future__ import annotations

from genrobust.core import SourceQuality, StudyRecord
from genrobust.report.nouns import ReportSection, plain_table
from genrobust.report.page import format_number
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import EN_DASH, number, span

_METRICS = {  # of a `SourceQuality`: what each is called, its digits, and what it is multiplied by
    "fid": ("FID", 3, 1),
    "kid": ("KID x 1,000", 1, 1000),
    "precision": ("precision, %", 0, 100),
    "recall": ("recall, %", 0, 100),
    "distance": ("distance", 3, 1),
    "vendi": ("Vendi score", 2, 1),
    "clip_score": ("CLIP score", 1, 1),
    "agreement": ("label agreement, %", 0, 100),
}
METRIC_HEADS = tuple(head for head, _, _ in _METRICS.values())
QUALITY_HEADS = ("source", "images", "accuracy score, %", *METRIC_HEADS)


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
        rows.append([quality.source, f"{quality.made:,}", score, *metric_texts(quality)])
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


def metric_texts(quality: SourceQuality) -> list[str]:
    """Return the metrics of a source as text, in the order of `METRIC_HEADS`."""
    values = ((getattr(quality, name), digits, factor) for name, (_, digits, factor) in _METRICS.items())
    return [format_number(None if value is None else factor * value, digits) for value, digits, factor in values]
