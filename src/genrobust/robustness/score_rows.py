"""The table of scores of a study: each checkpoint, arm, difference and group of arms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from genrobust.core import MEAN_OF_SHIFTS, Score, ScoreKey
from genrobust.robustness.comparison import Comparison
from genrobust.robustness.measured import Measured

# Up to this many arms, any two are compared on each test set; more arms only on the mean of shifts.
COMPARED_ON_EACH = 12
ScoreRow = tuple[ScoreKey, Score]


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """The scores of a study.

    Attributes:
        arms: The arms, in the order of `Measured`.
        seeds: The seeds, in the order of `Measured`.
        references: The arm or group that each arm and group is compared with; itself for none.
        weights: The weight of each seed in each replicate, [B, S].
    """

    comparison: Comparison
    arms: Sequence[str]
    seeds: Sequence[int]
    references: Mapping[str, str]
    weights: np.ndarray

    def rows(self, measured: Mapping[tuple[str, str], Measured]) -> Iterator[ScoreRow]:
        """Yield the scores of all that was `measured`, by metric and test set."""
        for (metric, test), values in measured.items():
            yield from self._arm_rows(metric, test, values)
            yield from self._group_rows(metric, test, values)

    def _arm_rows(self, metric: str, test: str, measured: Measured) -> Iterator[ScoreRow]:
        """Yield the scores of checkpoints and arms, then the differences of arms."""
        for a, arm in enumerate(self.arms):
            if test != MEAN_OF_SHIFTS:
                for s, seed in enumerate(self.seeds):
                    yield ScoreKey(metric, arm, test, seed), measured.checkpoint_score(a, s)
            if _has_mean(test, measured, a):
                yield ScoreKey(metric, arm, test), measured.arm_score(a, self.weights)
        asked = [(arm, self.references[arm]) for arm in self.arms if self.references[arm] != arm]
        pairs = list(dict.fromkeys([*asked, *self.comparison.pairs]))
        if self._compares_any_two(metric, test):
            pairs += _other_pairs(pairs, self.arms)
        for arm, other in pairs:
            a, b = self._index(arm), self._index(other)
            if _has_mean(test, measured, a, b):
                yield ScoreKey(metric, arm, test, minus=other), measured.difference(a, b, self.weights)

    def _group_rows(self, metric: str, test: str, measured: Measured) -> Iterator[ScoreRow]:
        """Yield the scores of groups, then their differences from their references.

        If any two arms are compared, so are any two groups of the same size.
        """
        differences: dict[tuple[str, str], Score] = {}
        for group, members in self.comparison.groups.items():
            arms = [self._index(arm) for arm in members]
            if _has_mean(test, measured, *arms):
                yield ScoreKey(metric, group, test), measured.mean_over_arms(arms).arm_score(0, self.weights)
            reference = self.references[group]
            subtracted = [self._index(self.references[arm]) for arm in members]
            if reference == group or not _has_mean(test, measured, *arms, *subtracted):
                continue
            score = measured.mean_over_arms(arms, subtracted).difference_score(self.weights)
            for name in [reference, *self._groups_of_one(reference)]:
                differences[group, name] = score
        if self._compares_any_two(metric, test):
            differences |= self._differences_of_groups(measured, list(differences))
        for (group, other), score in differences.items():
            yield ScoreKey(metric, group, test, minus=other), score

    def _differences_of_groups(
        self, measured: Measured, known: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], Score]:
        """Return the differences of any two groups of the same size, without the `known` ones."""
        groups = self.comparison.groups
        differences = {}
        for group, other in _other_pairs(known, list(groups)):
            if len(groups[group]) == len(groups[other]):
                arms = [self._index(arm) for arm in groups[group]]
                subtracted = [self._index(arm) for arm in groups[other]]
                mean = measured.mean_over_arms(arms, subtracted)
                differences[group, other] = mean.difference_score(self.weights)
        return differences

    def _groups_of_one(self, arm: str) -> list[str]:
        """Return the groups whose only member is `arm`."""
        return [name for name, members in self.comparison.groups.items() if list(members) == [arm]]

    def _index(self, arm: str) -> int:
        return self.arms.index(arm)

    def _compares_any_two(self, metric: str, test: str) -> bool:
        """Return whether any two arms are compared, and not only an arm with its reference."""
        if metric != "top1":
            return False
        return test == MEAN_OF_SHIFTS or (len(self.arms) <= COMPARED_ON_EACH and test in self.comparison.tests)


def _other_pairs(known: Sequence[tuple[str, str]], names: Sequence[str]) -> list[tuple[str, str]]:
    """Return any two of `names`, the later one first, unless the pair or its reverse is `known`."""
    taken = {frozenset(pair) for pair in known}
    return [(name, other) for other, name in combinations(names, 2) if frozenset((name, other)) not in taken]


def _has_mean(test: str, measured: Measured, *arms: int) -> bool:
    """Return whether a mean over shifts is meaningful for `arms`: not if their values extrapolate a line."""
    return test != MEAN_OF_SHIFTS or not measured.extrapolates(*arms)
