"""Errors of estimates of accuracy without labels, on the labeled shifts of finished studies.

    python benchmarks/estimates.py RUNS RECIPE [KEY=VALUE ...]

Each shift is treated as a set without labels in turn. "uncorrected" estimates know the clean images alone. "corrected"
ones also know the accuracies on the other shifts, as in a report. "order right" counts the differences of an arm and
its reference of a point or more. With --half, a set without labels has only the images of the first half of the
classes, in shifts that have all classes.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from side_by_side import table

from genrobust.core import Predictions
from genrobust.recipe import load_recipe
from genrobust.robustness import EstimatedStudy, estimate_accuracies
from genrobust.study import Study


def errors_of(study: EstimatedStudy) -> list[list[str]]:
    """Return a row for each estimator: its errors, how often the order was right, and its worst estimate."""
    corrected = estimate_accuracies(replace(study, unlabeled=())).estimators
    uncorrected = estimate_accuracies(replace(study, shifts=(), unlabeled=study.shifts)).sets
    rows = []
    for errors in corrected:
        cases = []
        for each in uncorrected:
            for arm, estimate in each.estimates[errors.name].items():
                truth = study.accuracies[each.name, arm]
                cases.append((abs(estimate - truth), f"{arm} on {each.name}: {truth:.1f}, estimated {estimate:.1f}"))
        mean = np.mean([error for error, _ in cases])
        largest, worst = max(cases)
        own = f"{errors.mean:.1f}, {errors.largest:.1f}"
        right = f"{errors.right_signs} of {errors.pairs}"
        rows.append([errors.title, f"{mean:.1f}, {largest:.1f}", own, right, worst])
    return rows


def halved(study: EstimatedStudy) -> EstimatedStudy:
    """Return the study with the images of the first half of the classes in each shift with all classes."""
    predictions = dict(study.predictions)
    accuracies = dict(study.accuracies)
    shifts = []
    for test in study.shifts:
        first = predictions[study.arms[0], study.seeds[0], test]
        if len(np.unique(first.labels)) < len(first.classes):
            continue
        shifts.append(test)
        for arm in study.arms:
            right = []
            for seed in study.seeds:
                whole = predictions[arm, seed, test]
                kept = np.flatnonzero(whole.labels < len(whole.classes) // 2)
                logits = np.asarray(whole.logits)[kept]
                predictions[arm, seed, test] = Predictions(test, logits, whole.labels[kept], classes=whole.classes)
                right.append((logits.argmax(axis=1) == whole.labels[kept]).mean())
            accuracies[test, arm] = 100 * float(np.mean(right))
    return replace(study, predictions=predictions, accuracies=accuracies, shifts=shifts)


def read_study(runs: Path, name: str, overrides: list[str]) -> EstimatedStudy:
    """Read the predictions and accuracies of a finished study."""
    recipe = load_recipe(name, overrides)
    study = Study(recipe, runs)
    summary = study.scores().summary
    sets = (summary.clean, *summary.shifts)
    trainings = [run for run in study.runs() if not run.baseline]
    predictions = {}
    for run, saved in zip(trainings, study.predictions(trainings), strict=True):
        for test in sets:
            predictions[run.of, run.seed, test] = saved[test]
    accuracies = {(test, arm): summary.score("top1", arm, test).value for test in sets for arm in recipe.arm_names}
    return EstimatedStudy(predictions, recipe.references(), summary.clean, summary.shifts, (), accuracies)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="the folder of studies")
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", help="as for --set")
    parser.add_argument("--half", action="store_true", help="only images of the first half of the classes")
    asked = parser.parse_args()
    study = read_study(asked.runs, asked.recipe, asked.overrides)
    if asked.half:
        study = halved(study)
    print(f"{len(study.arms)} arms, {len(study.shifts)} shifts, {len(study.seeds)} seeds; errors in points")
    heads = ["estimator", "uncorrected: mean, largest", "corrected: mean, largest", "order right", "worst, uncorrected"]
    print(table(heads, errors_of(study)))


if __name__ == "__main__":
    main()
