"""The section on the training of each arm: images and settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from genrobust.core import ArmRecord
from genrobust.report.report_section import Column, Entry, ReportSection, Table
from genrobust.report.report_view import SECTIONS, ReportView
from genrobust.report.wording import number

# Columns of the table of validation accuracies.
SHOWN_STEPS = 6
HEADS = ("images", "steps", "batch", "epochs", "val, %")
WORDS = ("architecture", "augmentation")


@SECTIONS.register("training")
def training(view: ReportView) -> ReportSection:
    """Return the images of each arm, with a column for each source, and its settings."""
    arms = view.record.arms
    sources = list(dict.fromkeys(chain.from_iterable(arm.parts for arm in arms)))
    columns = [Column(head) for head in (*sources, *HEADS)]
    columns += [Column(head, kind="words") for head in WORDS]
    rows = tuple((arm.name, _entries(arm, sources)) for arm in arms)
    tables = [Table(tuple(columns), rows)]
    curves = _curves_table(arms)
    if curves is not None:
        tables.append(curves)
    return ReportSection(
        title="What each arm trained on",
        order=140,
        label="Training",
        tables=tables,
    )


def _curves_table(arms: Sequence[ArmRecord]) -> Table | None:
    """Return the validation accuracies at some steps. None if no arm was validated twice."""
    curves = {arm.name: arm.val_curve for arm in arms if len(arm.val_curve) > 1}
    if not curves:
        return None
    steps = sorted(set().union(*curves.values()))
    places = {round(place * (len(steps) - 1) / (SHOWN_STEPS - 1)) for place in range(SHOWN_STEPS)}
    shown = [steps[place] for place in sorted(places)]
    rows = tuple((name, tuple(_number_entry(curve.get(step)) for step in shown)) for name, curve in curves.items())
    columns = tuple(Column(f"{step:,}") for step in shown)
    return Table(columns, rows, "Top-1 accuracy on the validation images in percent, by step")


def _entries(arm: ArmRecord, sources: Sequence[str]) -> tuple[Entry, ...]:
    total = sum(arm.parts.values())
    of_sources = []
    for source in sources:
        entry = _count_entry(arm.parts.get(source))
        of_sources.append(replace(entry, interval=arm.drawing.get(source, "")))
    epochs = arm.steps * arm.batch_size / total if total else None
    return (
        *of_sources,
        _count_entry(total),
        _count_entry(arm.steps),
        _count_entry(arm.batch_size),
        _number_entry(epochs),
        _number_entry(arm.val_top1),
        Entry(None, arm.architecture),
        Entry(None, arm.augmentation),
    )


def _count_entry(value: int | None) -> Entry:
    if value is None:
        return Entry(None)
    return Entry(value, f"{value:,}")


def _number_entry(value: float | None) -> Entry:
    if value is None:
        return Entry(None)
    return Entry(value, number(value))
