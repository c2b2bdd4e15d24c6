"""Label agreement and confidence on logits small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from genrobust.data import agreement, confidence, least_agreeing

LOGITS = np.array([[3, 0, 0], [0, 2, 0], [0, 0, 9], [0, 0, 5], [1, 0, 0], [0, 4, 0]], dtype=np.float32)
LABELS = np.array([0, 0, 0, 1, 1, 1])
STYLES = ["solid", "solid", "emoji", "emoji", "", "emoji"]


def test_worst_classes_come_first_with_what_they_are_taken_for() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    found = agreement(LOGITS, labels, STYLES)
    assert found.share == pytest.approx(1 / 6)
    assert [(c.label, c.n, c.agreeing, c.taken_for) for c in found.classes] == [
        (1, 2, 0, ((0, 1), (2, 1))),
        (2, 1, 0, ((1, 1),)),
        (0, 3, 1, ((1, 1), (2, 1))),
    ]


def test_styles_are_told_apart() -> None:
    assert agreement(LOGITS, LABELS, STYLES).styles == pytest.approx({"solid": 1 / 2, "emoji": 1 / 3})


def test_confidence_is_the_probability_of_the_label() -> None:
    odds = np.exp(LOGITS.astype(np.float64))
    assert confidence(LOGITS, LABELS) == pytest.approx((odds / odds.sum(1, keepdims=True))[range(6), LABELS])


def test_the_surest_mistakes_come_first() -> None:
    assert least_agreeing(LOGITS, LABELS, 10) == [2, 3, 1, 4]
    assert least_agreeing(LOGITS, LABELS, 1) == [2]
