"""The right and wrong answers of a whole study, and what its arms measure on every test set with replicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genrobust.data import BaselineModel, Line, Predictions
from genrobust.errors import UserError
from genrobust.robustness.accuracy import correct, inside, own_classes
from genrobust.robustness.compare import Measured, measure_accuracy, resampled_means
from genrobust.robustness.effective import predict, refit

StudyPredictions = Mapping[tuple[str, int, str], Predictions]  # by arm, seed and test set


@dataclass(frozen=True, slots=True)
class ScoredSet:
    """Right or wrong by arm, seed and image of one test set, and of the clean set over the same classes.

    `classes` int64 [C] are the set's own labels, of `all_classes` in the study. `right` and `right_all` bool [A, S, N]
    are over those and over every class. `clean_right` bool [A, S, M] is over `classes` and false for the images of the
    clean set that have none of them; `clean_members` bool [M] says which have one.
    """

    classes: np.ndarray
    all_classes: int
    right: np.ndarray
    right_all: np.ndarray
    clean_right: np.ndarray
    clean_members: np.ndarray


def arms_and_seeds(predictions: StudyPredictions, tests: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The arms in their order and the seeds, sorted, once every arm has every seed on every one of `tests`.

    Raises UserError that names the first prediction that is missing or does not pair with its neighbours: other
    images, other labels, another order, another protocol.
    """
    arms = tuple(dict.fromkeys(arm for arm, _, _ in predictions))
    seeds = tuple(sorted({seed for _, seed, _ in predictions}))
    for test in tests:
        first = None
        for arm in arms:
            for seed in seeds:
                where = f"arm {arm!r}, seed {seed}, test set {test!r}"
                found = predictions.get((arm, seed, test))
                if found is None:
                    raise UserError(f"no predictions for {where}: evaluate it, or leave out the set or the arm")
                first = found if first is None else first
                same_labels = np.array_equal(found.labels, first.labels) and found.accepted == first.accepted
                if found.keys != first.keys or not same_labels:
                    raise UserError(f"{where}: not the images of the other checkpoints; evaluate all on the same set")
                if (found.protocol, found.classes) != (first.protocol, first.classes):
                    raise UserError(
                        f"{where}: prepared as {found.protocol!r} over {len(found.classes)} classes, others as "
                        f"{first.protocol!r} over {len(first.classes)}; accuracies compare under one protocol alone"
                    )
    return arms, seeds


def score_sets(
    predictions: StudyPredictions, arms: Sequence[str], seeds: Sequence[int], clean: str, tests: Sequence[str]
) -> dict[str, ScoredSet]:
    """Right and wrong of every test set in `tests`, by name.

    Raises UserError where a set shares no class with the clean set, and what `correct` raises.
    """

    def answers(test: str, classes: np.ndarray) -> np.ndarray:
        return np.array([[correct(predictions[arm, seed, test], classes) for seed in seeds] for arm in arms])

    clean_of: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}  # shifts over the same classes share their clean answers
    scored = {}
    for test in tests:
        any_of = predictions[arms[0], seeds[0], test]
        clean_any = predictions[arms[0], seeds[0], clean]
        classes = own_classes(any_of)
        key = classes.tobytes()
        if key not in clean_of:
            members = inside(clean_any, classes)
            if not members.any():
                raise UserError(f"no image of the clean set {clean!r} has a class of {test!r}: nothing to compare with")
            right = np.zeros((len(arms), len(seeds), len(members)), dtype=bool)
            right[:, :, members] = answers(clean, classes)
            clean_of[key] = right, members
        every = np.arange(len(any_of.classes))
        scored[test] = ScoredSet(classes, len(every), answers(test, classes), answers(test, every), *clean_of[key])
    return scored


def measure(
    scored: Mapping[str, ScoredSet],
    lines: Mapping[str, Line],
    baselines: Sequence[BaselineModel],
    bootstrap: int,
    rng: np.random.Generator,
) -> dict[tuple[str, str], Measured]:
    """By figure and test set: "top1" for every set in `scored`, "er" for those in `lines`.

    A replicate resamples each set's images, the clean set's being the same for all shifts, and the baseline models by
    name, the same for all shifts.
    """
    measured = {("top1", test): measure_accuracy(s.right, len(s.classes), bootstrap, rng) for test, s in scored.items()}
    shifts = [test for test in scored if test in lines]
    if not shifts:
        return measured
    arms, seeds, images = scored[shifts[0]].clean_right.shape
    # One resample of the clean images serves all shifts: a column for each shift, arm and seed.
    columns = np.concatenate([scored[s].clean_right.reshape(arms * seeds, images) for s in shifts]).T
    members = np.repeat(np.stack([scored[s].clean_members for s in shifts], axis=1), arms * seeds, axis=1)
    cleans = 100 * resampled_means(columns, members, bootstrap, rng).reshape(bootstrap, len(shifts), arms, seeds)
    names = sorted({b.model for b in baselines if b.test_set in lines})
    picks = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=bootstrap)  # [B, models]
    for i, shift in enumerate(shifts):
        line, s, top1 = lines[shift], scored[shift], measured["top1", shift]
        of_shift = [b for b in baselines if b.test_set == shift]
        slope, intercept = refit(of_shift, picks[:, [names.index(b.model) for b in of_shift]], line.transform)
        clean = 100 * s.clean_right.sum(axis=2) / s.clean_members.sum()
        drawn = predict(slope[:, None, None], intercept[:, None, None], line.transform, cleans[:, i])
        measured["er", shift] = Measured(
            point=top1.point - predict(line.slope, line.intercept, line.transform, clean),
            draws=top1.draws - drawn,
            n=top1.n,
            classes=top1.classes,
            over="images and baselines",
        )
    return measured
