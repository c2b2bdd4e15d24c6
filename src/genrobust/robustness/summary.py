"""From the predictions of a whole study to its Summary: accuracy, effective robustness, means and differences."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from genrobust.core import (
    MEAN_OF_SHIFTS,
    BaselineModel,
    Cell,
    Difference,
    Line,
    MultiID,
    Plane,
    Score,
    Summary,
    UserError,
)
from genrobust.robustness.accuracy import accuracy_score
from genrobust.robustness.compare import Measured, mean_of, seed_weights
from genrobust.robustness.effective import extrapolated, fit_lines
from genrobust.robustness.groups import average_groups
from genrobust.robustness.measure import ScoredSet, StudyPredictions, arms_and_seeds, measure, score_sets
from genrobust.robustness.multi_id import beyond_plane, fit_planes


def summarize(
    predictions: StudyPredictions,
    baselines: Sequence[BaselineModel],
    clean: str,
    shifts: Sequence[str],
    reference: str,
    transform: str = "logit",
    min_images: int = 150,
    bootstrap: int = 1000,
    pairs: Sequence[tuple[str, str]] = (),
    references: Mapping[str, str] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    second_id: str | None = None,
    published: Mapping[str, Line] | None = None,
    beside: Collection[str] = (),
) -> Summary:
    """Everything a study measured, from the predictions of each (arm, seed, test set).

    A shifted set is scored over its own classes, logits restricted to them, and paired with the `clean` set restricted
    to the same classes. A shift with fewer than `min_images` images, or in `beside`, is scored and left out of the
    means. A shift that no baseline was scored on has the line in `published`; without one, it has no effective
    robustness: `mean_er` is over the shifts that have, and its method says over how many. Differences are those of
    every arm from `reference`, or from what `references` maps it to (itself: from none), and those of `pairs`: arm and
    what is subtracted. `groups` maps a name to arms that are averaged over as well.

    `second_id` names one of `shifts` that is in the distribution of some arm's training data: it is left out of the
    means, and the others are scored against the accuracies on both ID sets as well (see `multi_id`).

    Intervals are 95 %: Clopper-Pearson for the accuracy of one checkpoint, else percentile bootstraps (deterministic)
    in which each replicate resamples images, the same for all arms; baseline models, the same for all shifts (a
    published line is drawn by its own error); seeds, the same for all arms and sets, where there are several;
    and the arms of a group of three or more. One seed is named as such in every method.

    Raises UserError where a prediction is missing, checkpoints were not scored on the same images with the same
    protocol, or a line or plane cannot be fitted; GenrobustError for NaN logits.
    """
    tests = (clean, *shifts)
    arms, seeds = arms_and_seeds(predictions, tests)
    if reference not in arms:
        raise UserError(f"reference: {reference!r} is no arm with predictions; the arms are {', '.join(arms)}")
    own = dict.fromkeys(arms, reference) | dict(references or {})
    _require_arms([*pairs, *own.items()], arms)
    lines = {**(published or {}), **fit_lines(baselines, shifts, transform)}
    planes = {} if second_id is None else fit_planes(baselines, shifts, clean, second_id, transform)
    rng = np.random.default_rng(0)
    weights = seed_weights(len(seeds), bootstrap, rng)
    scored = score_sets(predictions, arms, seeds, clean, tests)
    measured = measure(scored, lines, baselines, bootstrap, rng, planes, second_id or "")
    sizes = {shift: scored[shift].right.shape[2] for shift in shifts}
    left_out = {shift: f"{n} images, fewer than {min_images}" for shift, n in sizes.items() if n < min_images}
    left_out |= {shift: "named under evaluate.beside" for shift in shifts if shift in beside}
    if second_id is not None:
        left_out[second_id] = "the study takes it for a second in-distribution set"
    in_mean = tuple(shift for shift in shifts if shift not in left_out)
    cells = tuple(
        _cell((arm, a), (seed, s), test, scored[test], measured.get(("er", test)), lines.get(test))
        for a, arm in enumerate(arms)
        for s, seed in enumerate(seeds)
        for test in tests
    )
    arm_top1 = _by_arm(measured, "top1", arms, weights)
    if len(seeds) == 1:  # exact where it can be: the accuracy of one checkpoint is a binomial proportion
        arm_top1 = {(c.arm, c.test_set): replace(c.top1, method=f"{c.top1.method}; one seed") for c in cells}
    means = _means(measured, in_mean)
    return Summary(
        arms=arms,
        reference=reference,
        seeds=seeds,
        clean=clean,
        shifts=in_mean,
        left_out=left_out,
        cells=cells,
        lines=lines,
        arm_top1=arm_top1,
        arm_er=_by_arm(measured, "er", arms, weights),
        mean_top1={arm: score for (arm, _), score in _by_arm(means, "top1", arms, weights).items()},
        mean_er={arm: score for (arm, _), score in _by_arm(means, "er", arms, weights).items()},
        differences=_differences({**measured, **means}, arms, _pairs(own, pairs), weights),
        protocols={test: predictions[arms[0], seeds[0], test].protocol for test in tests},
        references=own,
        groups=average_groups({**measured, **means}, arms, own, groups or {}, weights),
        multi_id=None if second_id is None else _multi_id(second_id, planes, measured, means, arms, cells, weights),
    )


def _multi_id(
    second: str,
    planes: dict[str, Plane],
    measured: Mapping[tuple[str, str], Measured],
    means: Mapping[tuple[str, str], Measured],
    arms: Sequence[str],
    cells: Sequence[Cell],
    weights: np.ndarray,
) -> MultiID:
    on_second = {(c.arm, c.seed): c.top1.value for c in cells if c.test_set == second}
    beyond = [
        (c.arm, c.test_set)
        for c in cells
        if c.test_set in planes
        and beyond_plane(planes[c.test_set], np.array([c.clean.value, on_second[c.arm, c.seed]]))
    ]
    return MultiID(
        second=second,
        planes=planes,
        arm_er=_by_arm(measured, "multi_er", arms, weights),
        mean_er={arm: score for (arm, _), score in _by_arm(means, "multi_er", arms, weights).items()},
        beyond=tuple(dict.fromkeys(beyond)),
    )


def _means(measured: Mapping[tuple[str, str], Measured], shifts: Sequence[str]) -> dict[tuple[str, str], Measured]:
    means = {}
    for figure in ("top1", "er", "multi_er"):
        parts = [measured[figure, shift] for shift in shifts if (figure, shift) in measured]
        if parts:
            share = f"{len(parts)}" if len(parts) == len(shifts) else f"{len(parts)} of {len(shifts)}"
            means[figure, MEAN_OF_SHIFTS] = mean_of(parts, f"mean of {share} shifts")
    return means


def _by_arm(
    measured: Mapping[tuple[str, str], Measured], figure: str, arms: Sequence[str], weights: np.ndarray
) -> dict[tuple[str, str], Score]:
    return {
        (arm, test): m.arm(a, weights) for (f, test), m in measured.items() if f == figure for a, arm in enumerate(arms)
    }


def _require_arms(pairs: Sequence[tuple[str, str]], arms: Sequence[str]) -> None:
    for name in (name for pair in pairs for name in pair):
        if name not in arms:
            raise UserError(f"a difference with {name!r}: no arm with predictions; the arms are {', '.join(arms)}")


def _pairs(references: Mapping[str, str], further: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Each once, those with the arms' references first."""
    return list(dict.fromkeys([*((arm, other) for arm, other in references.items() if arm != other), *further]))


def _differences(
    measured: Mapping[tuple[str, str], Measured],
    arms: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    weights: np.ndarray,
) -> tuple[Difference, ...]:
    return tuple(
        Difference(arm, other, test, figure, m.difference(arms.index(arm), arms.index(other), weights))
        for arm, other in pairs
        for (figure, test), m in measured.items()
    )


def _cell(
    arm: tuple[str, int], seed: tuple[int, int], test: str, scored: ScoredSet, er: Measured | None, line: Line | None
) -> Cell:
    """`arm` and `seed` are each the name and its index in `scored`."""
    a, s = arm[1], seed[1]
    clean = accuracy_score(scored.clean_right[a, s, scored.clean_members], len(scored.classes), test)
    return Cell(
        arm=arm[0],
        seed=seed[0],
        test_set=test,
        top1=accuracy_score(scored.right[a, s], len(scored.classes), test),
        top1_all=accuracy_score(scored.right_all[a, s], scored.all_classes, test),
        clean=clean,
        er=er.cell(a, s) if er else None,
        extrapolated=line is not None and extrapolated(line, clean.value),
    )
