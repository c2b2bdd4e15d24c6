"""The section on what each arm trained on."""

from __future__ import annotations

from dataclasses import replace

from genrobust.core import ArmRecord
from genrobust.report.nouns import Column, Entry, ReportSection, Table
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import number

HEADS = ("images", "steps", "batch", "epochs", "val, %")
WORDS = ("architecture", "augmentation")


@SECTIONS.register("training")
def training(view: ReportView) -> ReportSection:
    """Return the images of each arm, with a column for each source, and its settings."""
    arms = view.record.arms
    sources = list(dict.fromkeys(source for arm in arms for source in arm.parts))
    columns = (*map(Column, (*sources, *HEADS)), *(Column(head, kind="words") for head in WORDS))
    rows = tuple((arm.name, _entries(arm, sources)) for arm in arms)
    return ReportSection(
        title="What each arm trained on",
        order=140,
        label="Training",
        tables=[Table(columns, rows)],
    )


def _entries(arm: ArmRecord, sources: list[str]) -> tuple[Entry, ...]:
    total = sum(arm.parts.values())
    counts = [*(arm.parts.get(source) for source in sources), total, arm.steps, arm.batch_size]
    entries = [Entry(None) if n is None else Entry(n, f"{n:,}") for n in counts]
    for i, source in enumerate(sources):
        entries[i] = replace(entries[i], interval=arm.drawing.get(source, ""))
    rates = [arm.steps * arm.batch_size / total if total else None, arm.val_top1]
    entries += [Entry(None) if rate is None else Entry(rate, number(rate)) for rate in rates]
    return (*entries, Entry(None, arm.architecture), Entry(None, arm.augmentation))
