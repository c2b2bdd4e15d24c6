"""From the predictions of a whole study to its Summary: accuracy, effective robustness, means and differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from genrobust.data import BaselineModel, Cell, Difference, Line, Predictions, Score, Summary
from genrobust.errors import UserError
from genrobust.robustness.accuracy import accuracy_score, correct, inside, own_classes
from genrobust.robustness.compare import (
    Measured,
    mean_of,
    measure_accuracy,
    resampled_means,
    seed_weights,
)
from genrobust.robustness.effective import extrapolated, fit_lines, predict, refit

MEAN = "mean of shifts"
Study = dict[tuple[str, int, str], Predictions]


def summarize(
    predictions: Study,
    baselines: Sequence[BaselineModel],
    clean: str,
    shifts: Sequence[str],
    reference: str,
    transform: str = "logit",
    min_images: int = 150,
    bootstrap: int = 1000,
) -> Summary:
    """Everything a study measured, from the predictions of each (arm, seed, test set).

    A shifted set is scored over its own classes, logits restricted to them, and paired with the `clean` set restricted
    to the same classes. A shift with fewer than `min_images` images is scored and left out of the means. A shift that
    no baseline was scored on has no line and no effective robustness; `mean_er` is over the shifts that have one, and
    its method says over how many.

    Intervals are 95 %: Clopper-Pearson for an accuracy of one checkpoint, else percentile bootstraps (deterministic)
    in which each replicate resamples images, the same for all arms, baseline models, the same for all shifts, and
    seeds, the same for all arms and sets, where there are several. One seed is named as such in every method.

    Raises UserError where a prediction is missing, arms were not scored on the same images with the same protocol, or
    a line cannot be fitted; GenrobustError for NaN logits.
    """
    arms = tuple(dict.fromkeys(arm for arm, _, _ in predictions))
    seeds = tuple(sorted({seed for _, seed, _ in predictions}))
    tests = (clean, *shifts)
    _check_complete(predictions, arms, seeds, tests, reference)
    lines = fit_lines(baselines, shifts, transform)
    bench = _Bench(predictions, arms, seeds, clean, bootstrap)
    top1 = {test: bench.top1(test) for test in tests}
    top1_all = {test: bench.top1_all(test) for test in tests}
    cleans = bench.clean_over([top1[test].classes for test in tests])
    paired = {test: cleans[tuple(top1[test].classes)] for test in tests}
    er = bench.effective_robustness(lines, baselines, top1, paired)

    counts = {shift: top1[shift].right.shape[2] for shift in shifts}
    left_out = {s: f"{n} images, fewer than {min_images}" for s, n in counts.items() if n < min_images}
    in_mean = tuple(s for s in shifts if s not in left_out)
    with_line = tuple(s for s in in_mean if s in lines)
    measured: dict[tuple[str, str], Measured] = {("top1", test): top1[test].measured for test in tests}
    measured |= {("er", shift): er[shift] for shift in er}
    if in_mean:
        measured["top1", MEAN] = mean_of([top1[s].measured for s in in_mean])
    if with_line:
        measured["er", MEAN] = mean_of([er[s] for s in with_line])

    cells = tuple(
        _cell(arm, seed, a, s, test, (top1[test], top1_all[test], paired[test]), er.get(test), lines.get(test))
        for a, arm in enumerate(arms)
        for s, seed in enumerate(seeds)
        for test in tests
    )
    of_arms = {
        (figure, test, arm): _of_mean(m.arm(a, bench.weights), figure, test, in_mean, with_line)
        for (figure, test), m in measured.items()
        for a, arm in enumerate(arms)
    }
    if len(seeds) == 1:  # exact where it can be: one checkpoint's accuracy is a binomial proportion
        for cell in cells:
            exact = replace(cell.top1, method=f"{cell.top1.method}; one seed")
            of_arms["top1", cell.test_set, cell.arm] = exact
    differences = tuple(
        Difference(
            arm,
            reference,
            test,
            figure,
            _of_mean(m.difference(a, arms.index(reference), bench.weights), figure, test, in_mean, with_line),
        )
        for a, arm in enumerate(arms)
        if arm != reference
        for (figure, test), m in measured.items()
    )
    return Summary(
        arms=arms,
        reference=reference,
        seeds=seeds,
        clean=clean,
        shifts=in_mean,
        left_out=left_out,
        cells=cells,
        lines=lines,
        arm_top1={(arm, test): v for (f, test, arm), v in of_arms.items() if f == "top1" and test != MEAN},
        arm_er={(arm, test): v for (f, test, arm), v in of_arms.items() if f == "er" and test != MEAN},
        mean_top1={arm: v for (f, test, arm), v in of_arms.items() if f == "top1" and test == MEAN},
        mean_er={arm: v for (f, test, arm), v in of_arms.items() if f == "er" and test == MEAN},
        differences=differences,
    )
