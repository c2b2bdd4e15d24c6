"""The section on what each arm trained on."""

from __future__ import annotations

from genrobust.core import ArmRecord
from genrobust.report.nouns import PAGES, Column, Entry, ReportSection, Table, plain_table, template_beside
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import EN_DASH, arm_time, mixture_in_words, number

HEADS = ("arm", "images", "architecture", "augmentation", "steps", "batch size", "val, %", "time, one worker")
PAGE_HEADS = ("images", "steps", "batch", "epochs", "val, %", "time, one worker", "architecture", "augmentation")


@SECTIONS.register("training")
def training(view: ReportView) -> ReportSection:
    """Return the images and settings of each arm: on a page, with a column for each source."""
    arms = view.record.arms
    sources = list(dict.fromkeys(source for arm in arms for source in arm.parts))
    columns = tuple(Column(head, kind="words" if head in PAGE_HEADS[-2:] else "") for head in (*sources, *PAGE_HEADS))
    by_source = Table(
        columns, tuple((arm.name, _entries(arm, sources)) for arm in arms), "Training images and settings"
    )
    return ReportSection(
        title="What each arm trained on",
        order=140,
        label="Training",
        tables=[plain_table(HEADS, [_row(arm) for arm in arms])],
        template=template_beside(__file__),
        values={"by_source": by_source},
        forms=PAGES,
    )


def _row(arm: ArmRecord) -> list[str]:
    val = "" if arm.val_top1 is None else number(arm.val_top1)
    settings = [arm.architecture, arm.augmentation, f"{arm.steps:,}", str(arm.batch_size)]
    return [arm.name, mixture_in_words(arm), *settings, val, arm_time(arm)]


def _entries(arm: ArmRecord, sources: list[str]) -> tuple[Entry, ...]:
    parts = [f"{arm.parts[source]:,}" if source in arm.parts else EN_DASH for source in sources]
    total = sum(arm.parts.values())
    epochs = f"{arm.steps * arm.batch_size / total:.1f}" if total else EN_DASH
    val = EN_DASH if arm.val_top1 is None else number(arm.val_top1)
    settings = [f"{total:,}", f"{arm.steps:,}", str(arm.batch_size), epochs, val, arm_time(arm) or EN_DASH]
    drawn = [Entry(None, text, arm.drawing.get(source, "")) for source, text in zip(sources, parts, strict=True)]
    return (*drawn, *(Entry(None, text) for text in (*settings, arm.architecture, arm.augmentation)))
