"""The right and wrong answers of a whole study, and what its arms measure on every test set with replicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from genrobust.core import BaselineModel, Line, Plane, Predictions, UserError
from genrobust.robustness.accuracy import correct_over, inside, own_classes
from genrobust.robustness.compare import Measured, measure_accuracy, resampled_means
from genrobust.robustness.effective import drawn_lines, moved_in, predict, refit
from genrobust.robustness.multi_id import pair_up, plane_expected, plane_predict, refit_planes

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

    Raises UserError that names the first prediction that is missing.
    """
    arms = tuple(dict.fromkeys(arm for arm, _, _ in predictions))
    seeds = tuple(sorted({seed for _, seed, _ in predictions}))
    for key in product(arms, seeds, tests):
        if key not in predictions:
            raise UserError(f"no predictions for {_where(*key)}: evaluate it, or leave out the set or the arm")
    return arms, seeds


def score_sets(
    predictions: StudyPredictions, arms: Sequence[str], seeds: Sequence[int], clean: str, tests: Sequence[str]
) -> dict[str, ScoredSet]:
    """Right and wrong of every test set in `tests`, `clean` among them, by name.

    Predictions are asked for one at a time, and their logits read once: `predictions` may read them from a disk.

    Raises UserError where a set shares no class with the clean set, where a prediction is of another set than its key
    says or does not pair with its neighbours (other images, labels, order or protocol), and what `correct` raises.
    """
    images = {test: _without_logits(predictions[arms[0], seeds[0], test]) for test in tests}
    for test, of in images.items():
        if of.classes != images[clean].classes:
            raise UserError(f"{test!r} and {clean!r} are predicted over different classes: evaluate both again")
    every = np.arange(len(images[clean].classes))
    own = {test: own_classes(of) for test, of in images.items()}

    def answers(test: str, subsets: Sequence[np.ndarray]) -> list[np.ndarray]:
        kept = [inside(images[test], classes) for classes in subsets]
        right = [np.zeros((len(arms), len(seeds), len(images[test].labels)), dtype=bool) for _ in subsets]
        for (a, arm), (s, seed) in product(enumerate(arms), enumerate(seeds)):
            found = predictions[arm, seed, test]
            _require_pair(found, images[test], _where(arm, seed, test), test)
            for to, members, given in zip(right, kept, correct_over(found, subsets), strict=True):
                to[a, s, members] = given
        return right

    subsets = list({classes.tobytes(): classes for classes in own.values()}.values())
    members = [inside(images[clean], classes) for classes in subsets]
    for test, classes in own.items():
        if not inside(images[clean], classes).any():
            raise UserError(f"no image of the clean set {clean!r} has a class of {test!r}: nothing to compare with")
    *right_of, clean_all = answers(clean, [*subsets, every])
    clean_of = {c.tobytes(): (r, m) for c, r, m in zip(subsets, right_of, members, strict=True)}
    scored = {}
    for test, classes in own.items():
        clean_right, clean_members = clean_of[classes.tobytes()]
        right, right_all = (clean_right, clean_all) if test == clean else answers(test, [classes, every])
        scored[test] = ScoredSet(classes, len(every), right, right_all, clean_right, clean_members)
    return scored


def _where(arm: str, seed: int, test: str) -> str:
    return f"arm {arm!r}, seed {seed}, test set {test!r}"


def _without_logits(predictions: Predictions) -> Predictions:
    """What is known of the images alone; keeps no file mapped."""
    return replace(predictions, logits=np.empty((0, len(predictions.classes)), dtype=np.float32))


def _require_pair(found: Predictions, first: Predictions, where: str, test: str) -> None:
    if found.test_set != test:
        raise UserError(f"{where}: these are predictions on {found.test_set!r}; were two files swapped?")
    if len(found.labels) != len(first.labels):
        raise UserError(
            f"{where}: {len(found.labels):,} images, where another checkpoint has {len(first.labels):,}; evaluate all "
            "on the same set"
        )
    if found.keys != first.keys or not np.array_equal(found.labels, first.labels) or found.accepted != first.accepted:
        raise UserError(f"{where}: not the images of the other checkpoints; evaluate all on the same set")
    if (found.protocol, found.classes) != (first.protocol, first.classes):
        raise UserError(
            f"{where}: prepared as {found.protocol!r} over {len(found.classes)} classes, others as "
            f"{first.protocol!r} over {len(first.classes)}; accuracies compare under one protocol alone"
        )


def measure(
    scored: Mapping[str, ScoredSet],
    lines: Mapping[str, Line],
    baselines: Sequence[BaselineModel],
    bootstrap: int,
    rng: np.random.Generator,
    planes: Mapping[str, Plane] | None = None,
    second: str = "",
) -> dict[tuple[str, str], Measured]:
    """By figure and test set: "top1" for every set in `scored`, "er" for those in `lines`, "multi_er" in `planes`.

    A replicate resamples each set's images, those of the clean set and of `second`, the planes' other ID set, being the
    same for all shifts, and the baseline models by name, the same for all shifts. A line without baselines is a
    published one: it is drawn by its own error, as if the lines of different shifts erred independently.
    """
    measured = {("top1", test): measure_accuracy(s.right, len(s.classes), bootstrap, rng) for test, s in scored.items()}
    shifts = [test for test in scored if test in lines]
    if not shifts:
        return measured
    arms, seeds, images = scored[shifts[0]].clean_right.shape
    # One resample of the clean images serves all shifts: a column for each shift, arm and seed.
    columns = np.concatenate([scored[s].clean_right.reshape(arms * seeds, images) for s in shifts]).T
    members = np.stack([scored[s].clean_members for s in shifts], axis=1)
    cleans = 100 * resampled_means(columns, members, bootstrap, rng).reshape(bootstrap, len(shifts), arms, seeds)
    names = sorted({b.model for b in baselines if b.test_set in lines})
    picks = np.empty((bootstrap, 0), dtype=int)  # [B, models]
    if names:
        picks = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=bootstrap)
    for i, shift in enumerate(shifts):
        line, s, top1 = lines[shift], scored[shift], measured["top1", shift]
        of_shift = [b for b in baselines if b.test_set == shift]
        if of_shift:
            over = "images and baselines"
            slope, intercept = refit(of_shift, picks[:, [names.index(b.model) for b in of_shift]], line.transform)
        else:
            over = "images and the line's error"
            slope, intercept = drawn_lines(line, bootstrap, rng)
        n = int(s.clean_members.sum())
        clean = moved_in(100 * s.clean_right.sum(axis=2) / n, n, line.transform)
        cleans_drawn = moved_in(cleans[:, i], n, line.transform)
        drawn = predict(slope[:, None, None], intercept[:, None, None], line.transform, cleans_drawn)
        expected = predict(line.slope, line.intercept, line.transform, clean)
        measured["er", shift] = _beyond(top1, expected, drawn, over)
        if planes and shift in planes:
            models, ids, shifted = pair_up(baselines, shift, second)
            plane, other = planes[shift], measured["top1", second]
            point, draws = (moved_in(percent, other.n, plane.transform) for percent in (other.point, other.draws))
            fits = refit_planes(ids, shifted, picks[:, [names.index(m) for m in models]], plane.transform)
            both = np.stack([cleans_drawn, draws], axis=-1)
            drawn = plane_predict(fits[:, None, None], plane.transform, both)
            expected = plane_expected(plane, np.stack([clean, point], axis=-1))
            measured["multi_er", shift] = _beyond(top1, expected, drawn, over)
    return measured


def _beyond(top1: Measured, expected: np.ndarray, drawn: np.ndarray, over: str) -> Measured:
    """`top1` minus what the baselines predict: `expected` for the points [A, S], `drawn` for the replicates."""
    return Measured(
        point=top1.point - expected,
        draws=top1.draws - drawn,
        n=top1.n,
        classes=top1.classes,
        over=over,
    )
