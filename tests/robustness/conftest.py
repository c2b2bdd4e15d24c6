"""Small predictions whose right answers are known, made by hand or by a seeded draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from genrobust.core import Predictions


@pytest.fixture
def predictions_of() -> Callable[..., Predictions]:
    """Predictions whose `guesses` are the arg max of the logits, for `labels` among `classes` classes."""

    def make(
        guesses: Sequence[int], labels: Sequence[int], classes: int = 4, test_set: str = "test", **changes
    ) -> Predictions:
        logits = np.zeros((len(labels), classes), dtype=np.float32)
        logits[np.arange(len(labels)), guesses] = 5
        keys = tuple(f"{test_set}-{i}" for i in range(len(labels)))
        names = tuple(f"class-{i}" for i in range(classes))
        made = Predictions(test_set, logits, np.array(labels, dtype=np.int64), keys, names, "64 px, no flip")
        return replace(made, **changes)

    return make


@pytest.fixture
def drawn_study(predictions_of) -> Callable[..., dict[tuple[str, int, str], Predictions]]:
    """A study whose arms are right with given probabilities: {arm: {test set: probability}}, n images a set.

    `only` maps a test set to the labels that it covers, of six. Images are equally hard for all arms (paired), and a
    seed shifts an arm's probability by up to 0.04.
    """

    def make(
        accuracy: dict[str, dict[str, float]], seeds: Sequence[int], n: dict[str, int], only: dict[str, list[int]]
    ) -> dict[tuple[str, int, str], Predictions]:
        study = {}
        for a, (arm, of_sets) in enumerate(accuracy.items()):
            for seed in seeds:
                for t, (test, p) in enumerate(of_sets.items()):
                    shared, own = np.random.default_rng([t]), np.random.default_rng([t, seed, a])
                    labels = shared.choice(only.get(test, list(range(6))), n[test])
                    shift = np.random.default_rng([seed, a]).uniform(-0.04, 0.04)
                    right = 0.8 * shared.random(n[test]) + 0.2 * own.random(n[test]) < p + shift
                    study[arm, seed, test] = predictions_of(
                        np.where(right, labels, (labels + 1) % 6), labels, classes=6, test_set=test
                    )
        return study

    return make
