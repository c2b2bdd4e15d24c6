"""The report as JSON: the record of the study, with its answer and its scores."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from genrobust.report.results import summary_to_json
from genrobust.report.view import ReportView


def results_to_json(view: ReportView) -> dict[str, Any]:
    """Return everything in `view` but plots and pictures, as JSON values."""
    record, metrics = view.record, view.metrics
    return {
        "title": record.title,
        "question": record.question,
        "answer": list(view.answer.sentences),
        "date": record.date,
        "command": record.command,
        "recipe": record.recipe_yaml,
        "environment": record.environment,
        "made_by": [asdict(made) for made in record.made_by],
        "notes": list(record.notes),
        "classes": list(record.class_names),
        "arms": [asdict(arm) for arm in record.arms],
        "stages": [asdict(stage) for stage in record.stages],
        "baselines": [asdict(model) for model in record.baselines],
        "claims": [
            {
                **asdict(checked.claim),
                "difference": checked.score and asdict(checked.score),
                "p": checked.p,
                "here": checked.outcome,
            }
            for checked in view.claims
        ],
        "qualities": [asdict(quality) for quality in record.qualities],
        "metrics": [
            {"metric": f.name, "title": f.title, "unit": f.unit, "higher_is_better": f.higher_is_better, "note": f.note}
            for f in metrics
        ],
        "summary": summary_to_json(view.summary, metrics),
        "cells": [asdict(cells) for cells in record.cells],
        "curves": [{"arm": c.arm, **summary_to_json(c.summary, metrics)} for c in record.curves],
    }
