"""The means over the arms of a group, which are one mixture with several architectures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

import numpy as np

from genrobust.core import Group, Score, UserError
from genrobust.robustness.compare import Measured, seed_weights

RESAMPLED_FROM = 3  # arms of a group, from which on they are resampled: two say too little about their spread


def average_groups(
    measured: Mapping[tuple[str, str], Measured],
    arms: Sequence[str],
    references: Mapping[str, str],
    groups: Mapping[str, Sequence[str]],
    weights: np.ndarray,
) -> tuple[Group, ...]:
    """The means of each group in `groups`, which names its arms, from the figures `measured` by figure and test set.

    `references` says what each arm is compared with, itself where with nothing; `weights` [B, S] are those of the
    seeds. A group has gains where the references of its arms are one arm, or the arms of a group, outside it.
    Raises UserError for an arm that was not measured.
    """
    found = []
    for name, members in groups.items():
        for arm in members:
            if arm not in arms:
                raise UserError(f"group {name!r}: {arm!r} is no arm with predictions; the arms are {', '.join(arms)}")
        own = [arms.index(arm) for arm in members]
        others = [arms.index(references[arm]) for arm in members]
        reference = "" if set(own) & set(others) else _name_of({references[arm] for arm in members}, groups)
        found.append(
            Group(
                name=name,
                arms=tuple(members),
                reference=reference,
                top1=_scores(measured, "top1", own, None, weights),
                er=_scores(measured, "er", own, None, weights),
                top1_gain=_scores(measured, "top1", own, others, weights) if reference else {},
                er_gain=_scores(measured, "er", own, others, weights) if reference else {},
            )
        )
    return tuple(found)


def over_arms(measured: Measured, arms: Sequence[int], minus: Sequence[int] | None = None) -> Measured:
    """The mean over `arms` as that of a single one; `minus` are the arms to subtract, one from each.

    From `RESAMPLED_FROM` arms on, a replicate resamples them, the same ones for every figure and every group of as many
    arms; below, its interval is that of just these arms.
    """
    own = list(arms)
    point, draws = measured.point[own], measured.draws[:, own]
    if minus is not None:
        point, draws = point - measured.point[list(minus)], draws - measured.draws[:, list(minus)]
    count, resamples = len(own), len(draws)
    words = f"{count} arm{'' if count == 1 else 's'}"
    over, shares = measured.over, np.full((resamples, count), 1 / count)
    if count >= RESAMPLED_FROM:
        over = f"{over.replace(' and ', ', ')} and {words}"
        shares = seed_weights(count, resamples, np.random.default_rng([0, count]))
    return replace(
        measured,
        point=point.mean(axis=0, keepdims=True),
        draws=np.einsum("bas,ba->bs", draws, shares)[:, None],
        over=over,
        of=f"{measured.of} and {words}" if measured.of else f"mean of {words}",
        bounds=measured.bounds if minus is None else (-np.inf, np.inf),
    )


def _scores(
    measured: Mapping[tuple[str, str], Measured],
    figure: str,
    own: Sequence[int],
    others: Sequence[int] | None,
    weights: np.ndarray,
) -> dict[str, Score]:
    """By test set."""
    return {test: over_arms(m, own, others).arm(0, weights) for (f, test), m in measured.items() if f == figure}


def _name_of(references: Set[str], groups: Mapping[str, Sequence[str]]) -> str:
    """The group that `references` are the arms of, or their one name; "" where there is neither."""
    same = (name for name, members in groups.items() if references == set(members))
    return next(same, next(iter(references)) if len(references) == 1 else "")
