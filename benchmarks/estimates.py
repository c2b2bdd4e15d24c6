"""Errors of estimates of accuracy without labels, on the labeled shifts of finished studies.

    python benchmarks/estimates.py RUNS RECIPE [KEY=VALUE ...]

Each shift is treated as a set without labels in turn. "uncorrected" estimates know the clean images alone. "corrected"
ones also know the accuracies on the other shifts, as in a report. Differences are those of an arm and its reference of
a point or more.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from side_by_side import table

from genrobust.recipe import load_recipe
from genrobust.robustness import EstimatedStudy, estimate_accuracies
from genrobust.study import Study


def errors_of(study: EstimatedStudy) -> list[list[str]]:
    """Return a row for each estimator: its errors with and without a correction, and how often the order was right."""
    corrected = estimate_accuracies(replace(study, unlabeled=())).estimators
    uncorrected = estimate_accuracies(replace(study, shifts=(), unlabeled=study.shifts)).sets
    rows = []
    for errors in corrected:
        raw = []
        for each in uncorrected:
            estimates = each.estimates[errors.name]
            raw += [abs(estimates[arm] - study.accuracies[each.name, arm]) for arm in study.arms]
        without = f"{np.mean(raw):.1f}, {max(raw):.1f}"
        own = f"{errors.mean:.1f}, {errors.largest:.1f}"
        rows.append([errors.title, without, own, f"{errors.right_signs} of {errors.pairs}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*")
    asked = parser.parse_args()
    recipe = load_recipe(asked.recipe, asked.overrides)
    study = Study(recipe, asked.runs)
    scores = study.scores()
    summary = scores.summary
    runs = [run for run in study.runs() if not run.baseline]
    predictions = {}
    for run, saved in zip(runs, study.predictions(runs), strict=True):
        for test in (summary.clean, *summary.shifts):
            predictions[run.of, run.seed, test] = saved[test]
    accuracies = {}
    for test in (summary.clean, *summary.shifts):
        for arm in recipe.arm_names:
            accuracies[test, arm] = summary.score("top1", arm, test).value
    made = EstimatedStudy(predictions, recipe.references(), summary.clean, summary.shifts, (), accuracies)
    heads = ["estimator", "uncorrected: mean, largest", "corrected: mean, largest", "order right"]
    size = f"{len(recipe.arms)} arms, {len(summary.shifts)} shifts, {len(recipe.seeds)} seeds"
    print(f"{recipe.name}: {size}; errors in points")
    print(table(heads, errors_of(made)))


if __name__ == "__main__":
    main()
