"""The section on the quality of the images of each source."""

from __future__ import annotations

from dataclasses import dataclass

from genrobust.core import SourceQuality, StudyRecord
from genrobust.report.page_templates import format_number
from genrobust.report.report_section import ReportSection, plain_table
from genrobust.report.report_view import SECTIONS, ReportView
from genrobust.report.wording import EN_DASH, number, span


@dataclass(frozen=True, slots=True)
class _QualityMetric:
    """A column of the table: a field of `SourceQuality`, its heading, its decimals, and a factor."""

    field: str
    head: str
    digits: int
    factor: int = 1


_METRICS = (
    _QualityMetric("fid", "FID", 3),
    _QualityMetric("kid", "KID x 1,000", 1, 1000),
    _QualityMetric("precision", "precision, %", 0, 100),
    _QualityMetric("recall", "recall, %", 0, 100),
    _QualityMetric("distance", "distance", 3),
    _QualityMetric("vendi", "Vendi score", 2),
    _QualityMetric("clip_score", "CLIP score", 1),
    _QualityMetric("agreement", "label agreement, %", 0, 100),
)
METRIC_HEADS = tuple(metric.head for metric in _METRICS)
QUALITY_HEADS = ("source", "images", "accuracy score, %", *METRIC_HEADS)


@SECTIONS.register("images")
def images(view: ReportView) -> ReportSection | None:
    """Return a row for each source. None if no images were measured."""
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
    """Return one row of `QUALITY_HEADS` per source."""
    rows = []
    for quality in record.qualities:
        score = _accuracy_score_in_words(record, quality)
        rows.append([quality.source, f"{quality.made:,}", score, *metric_texts(quality)])
    return rows


def _accuracy_score_in_words(record: StudyRecord, quality: SourceQuality) -> str:
    """Write the classification accuracy score of a source (Ravuri and Vinyals, 2019), or a dash.

    It is the top-1 on the clean test set of the first arm that trained, from scratch, on all images of this source and
    no others.
    """
    summary = record.summary
    for arm in record.arms:
        is_from_scratch = not arm.started_from and arm.name not in summary.pretrained
        if arm.parts == {quality.source: quality.made} and is_from_scratch:
            score = summary.score("top1", arm.name, summary.clean)
            return f"{number(score.value)} ({span(score)})"
    return EN_DASH


def quality_note(record: StudyRecord) -> str:
    """Say how the metrics of `quality_rows` were measured."""
    per_class = record.qualities[0].per_class
    within_classes = ""
    if per_class:
        within_classes = (
            " Distance and Vendi score are within classes, at equal numbers for all sources, on average "
            f"{per_class:.0f} images of each class: the mean distance of two images, and the effective number of "
            "different images."
        )
    return (
        "The accuracy score is top-1 on the clean test set of a classifier that trained on this source alone. The "
        "other metrics are over CLIP embeddings. FID, KID, precision and recall compare with the real training images, "
        "at equal numbers for all other sources; precision is the share of images among the real ones, recall the "
        f"share of real ones among the images.{within_classes} The CLIP score is the mean cosine of image and class "
        "times 100. Label agreement is the share of images that the CLIP assigns to their class."
    )


def metric_texts(quality: SourceQuality) -> list[str]:
    """Return the metrics of a source as text, in the order of `METRIC_HEADS`."""
    texts = []
    for metric in _METRICS:
        value = getattr(quality, metric.field)
        scaled = None if value is None else metric.factor * value
        texts.append(format_number(scaled, metric.digits))
    return texts
