"""WiSE-FT curves: accuracies between a pretrained network and a fine-tuned one, as plots and tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from genrobust.core import StudyRecord, Summary
from genrobust.report.plots import scatter
from genrobust.report.tables import Table, main_tables

HEAD = "share of fine-tuning"  # of a table's rows: 0 is the pretrained network, 1 the fine-tuned one


@dataclass(frozen=True, slots=True)
class DrawnCurve:
    """The curve of one arm: `plot` is as `scatter` returns it, and each of its panels has the curve as a `path`."""

    arm: str
    summary: Summary
    plot: dict[str, Any] | None
    tables: list[Table]


def drawn_curves(record: StudyRecord) -> list[DrawnCurve]:
    """Return the curves of a study: of each arm that has one, by its place in the study."""
    drawn = []
    for curve in record.curves:
        plot = scatter(replace(record, summary=curve.summary))
        for panel in [] if plot is None else plot["panels"]:
            means = [mark for mark in panel["marks"] if mark.mean]
            panel["path"] = "M" + "L".join(f"{mark.x} {mark.y}" for mark in means)
        drawn.append(DrawnCurve(curve.arm, curve.summary, plot, list(main_tables(curve.summary).values())))
    return drawn
