"""The report as JSON: the record of the study, with its answer and its scores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from genrobust.core import Summary
from genrobust.report.report_folder import FORMAT
from genrobust.report.report_view import ReportView
from genrobust.robustness import CheckedClaim, Metric


def results_to_json(view: ReportView) -> dict[str, Any]:
    """Return everything in `view` except plots and pictures, as JSON values."""
    record = view.record
    metrics = view.metrics
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
        "claims": [_claim_to_json(checked) for checked in view.claims],
        "qualities": [asdict(quality) for quality in record.qualities],
        "metrics": [_metric_to_json(metric) for metric in metrics],
        "summary": summary_to_json(view.summary, metrics),
        "unlabeled": asdict(record.unlabeled),
        "cells": [asdict(cells) for cells in record.cells],
        "curves": [{"arm": curve.arm, **summary_to_json(curve.summary, metrics)} for curve in record.curves],
    }


def _claim_to_json(checked: CheckedClaim) -> dict[str, Any]:
    difference = None if checked.score is None else asdict(checked.score)
    return {**asdict(checked.claim), "difference": difference, "p": checked.p, "here": checked.outcome}


def _metric_to_json(metric: Metric) -> dict[str, Any]:
    return {
        "metric": metric.name,
        "title": metric.title,
        "unit": metric.unit,
        "higher_is_better": metric.higher_is_better,
        "note": metric.note,
    }


def summary_to_json(summary: Summary, metrics: Iterable[Metric]) -> dict[str, Any]:
    """Return `summary` as JSON values, without matrices. `scores` is a list of records with their units."""
    by_name = {metric.name: metric for metric in metrics}
    scores = []
    for row in summary.rows():
        metric = by_name[row["metric"]]
        unit = metric.difference_unit if row["minus"] else metric.unit
        scores.append({**row, "unit": unit})
    reports = {}
    for side, by_arm in summary.class_reports.items():
        reports[side] = {arm: replace(report, matrix=None) for arm, report in by_arm.items()}
    facts = asdict(replace(summary, scores={}, class_reports=reports))
    return {"format": FORMAT, **facts, "scores": scores}
