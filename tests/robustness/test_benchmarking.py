"""A benchmark's figures against numbers worked out otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from genrobust.core.errors import UserError
from genrobust.core.results import Predictions
from genrobust.robustness.accuracy import clopper_pearson
from genrobust.robustness.benchmarking import benchmark

CLASSES = ("ant", "bee", "cat", "dog")


def predictions(name: str, n: int, accuracy: float, seed: int) -> Predictions:
    """The first `accuracy` of each class is right, in an order that `seed` shuffles; the others say the next class."""
    labels = np.arange(n) % len(CLASSES)
    order = np.random.default_rng(seed).permutation(n)
    right = np.empty(n, dtype=bool)
    right[order] = np.arange(n) < round(accuracy * n)
    said = np.where(right, labels, (labels + 1) % len(CLASSES))
    logits = np.eye(len(CLASSES), dtype=np.float32)[said] * 3
    return Predictions(name, logits, labels, tuple(f"{name}-{i}" for i in range(n)), CLASSES, "as they are")


def pair(generated: float, real: float, seed: int = 0) -> tuple[Predictions, Predictions]:
    return predictions("generated", 400, generated, seed), predictions("real", 600, real, seed + 100)


def right(found: Predictions) -> np.ndarray:
    return found.logits.argmax(axis=1) == found.labels


def test_one_checkpoint_has_exact_intervals_and_a_drop_over_the_images_of_both_sets() -> None:
    scores = benchmark({"only": [pair(0.4, 0.9)]}, [""] * 400).models[0].scores
    lo, hi = clopper_pearson(160, 400)
    assert (scores.generated.value, scores.generated.lo, scores.generated.hi) == pytest.approx((40, 100 * lo, 100 * hi))
    assert (scores.real.value, scores.real.n) == (pytest.approx(90), 600)
    assert (scores.drop.value, scores.drop.n) == (pytest.approx(50), 1000)
    # of two independent proportions, by the normal approximation
    half = 196 * np.sqrt(0.4 * 0.6 / 400 + 0.9 * 0.1 / 600)
    assert (scores.drop.lo, scores.drop.hi) == pytest.approx((50 - half, 50 + half), abs=0.7)
    assert scores.drop.method == "bootstrap 95 % over images of both sets"


def test_checkpoints_of_one_name_are_averaged_and_widen_the_interval_by_their_spread() -> None:
    apart = benchmark({"m": [pair(0.2, 0.9), pair(0.4, 0.9, 1), pair(0.6, 0.9, 2)]}, [""] * 400).models[0]
    alike = benchmark({"m": [pair(0.4, 0.9), pair(0.4, 0.9, 1), pair(0.4, 0.9, 2)]}, [""] * 400).models[0]
    assert apart.scores.generated.value == pytest.approx(40)
    assert [p.generated.value for p in apart.each] == pytest.approx([20, 40, 60])
    assert [p.drop.value for p in apart.each] == pytest.approx([70, 50, 30])
    widths = [s.scores.drop.hi - s.scores.drop.lo for s in (apart, alike)]
    # three seeds with a standard deviation of 20 points, so one of 11.5 of their mean, by images about 2
    assert widths[0] == pytest.approx(2 * 1.96 * np.hypot(20 / np.sqrt(3), 2), rel=0.15)
    assert widths[1] < 10
    assert "3 seeds" in apart.scores.drop.method


def test_models_are_held_against_the_first_on_the_same_images() -> None:
    one, other = pair(0.4, 0.9), pair(0.7, 0.8, 5)
    first, same, better = benchmark({"a": [one], "b": [one], "c": [other]}, [""] * 400).models
    assert first.beyond is None
    assert same.beyond is not None and better.beyond is not None
    assert (same.beyond.value, same.beyond.lo, same.beyond.hi) == (0, 0, 0)
    assert better.beyond.value == pytest.approx((80 - 70) - (90 - 40))
    sides = [100 * (right(o).astype(float) - right(f)) for o, f in zip(other, one, strict=True)]
    half = 1.96 * np.sqrt(sum(d.var() / len(d) for d in sides))  # the paired difference on each side
    assert (better.beyond.lo, better.beyond.hi) == pytest.approx((-40 - half, -40 + half), abs=1)


def test_groups_of_real_images_widen_what_depends_on_them_and_nothing_else() -> None:
    """Twelve photographers, of whom each model knows others: all of their images are right, or none is."""

    def known(found: Predictions, sites: range) -> Predictions:
        sure = np.eye(len(CLASSES), dtype=np.float32)[(found.labels + ~np.isin(np.arange(600) % 12, sites)) % 4]
        return replace(found, logits=sure)

    generated, real = pair(0.4, 0.9)
    asked = {"a": [(generated, known(real, range(6)))], "b": [(generated, known(real, range(4, 8)))]}
    groups = [f"hand {i % 12}" for i in range(600)]
    plain, grouped = benchmark(asked, [""] * 400), benchmark(asked, [""] * 400, groups=groups)
    for one, other in zip(plain.models, grouped.models, strict=True):
        assert other.scores.generated == one.scores.generated
        for before, after in (
            (one.scores.real, other.scores.real),
            (one.scores.drop, other.scores.drop),
            *([(one.beyond, other.beyond)] if one.beyond and other.beyond else []),
        ):
            assert after.value == pytest.approx(before.value)
            assert after.hi - after.lo > 4 * (before.hi - before.lo)
            assert (before.groups, after.groups) == (0, 12)
            assert "12 groups" in after.method
    assert grouped.models[1].beyond is not None
    assert benchmark(asked, [""] * 400, groups=["one"] * 600).models == plain.models


def test_classes_and_styles_are_scored_apart() -> None:
    members = [pair(0.5, 0.7), pair(0.3, 0.6, 3)]
    styles = ["solid" if i % 3 else "" if i % 2 else "emoji" for i in range(400)]
    made = benchmark({"one": members[:1], "both": members}, styles)
    assert made.sizes == ((100, 150),) * 4
    for model, of in zip(made.models, (members[:1], members), strict=True):
        for label, (generated, real) in enumerate(model.classes):
            expected = [np.mean([right(p[i])[p[i].labels == label].mean() for p in of]) for i in (0, 1)]
            assert (generated, real) == pytest.approx([100 * e for e in expected])
        assert list(model.styles) == ["emoji", "solid"]
        for style, score in model.styles.items():
            here = np.array(styles) == style
            assert score.value == pytest.approx(100 * np.mean([right(g)[here].mean() for g, _ in of]))
            assert (score.n, score.lo < score.value < score.hi) == (here.sum(), True)


def test_checkpoints_that_are_right_everywhere_still_have_an_interval() -> None:
    scores = benchmark({"m": [pair(1, 0.9), pair(1, 0.8, 1)]}, [""] * 400).models[0].scores
    assert (scores.generated.lo, scores.generated.hi) == pytest.approx((100 * clopper_pearson(400, 400)[0], 100))


def test_the_hardest_images_are_those_that_most_models_get_wrong(of_said: Callable[..., Predictions]) -> None:
    """Two checkpoints of one model weigh as much as one of another."""
    real = predictions("real", 8, 1, 0)
    said = {"a": [[0, 1, 3, 2], [0, 2, 3, 2]], "b": [[1, 1, 0, 3]]}  # labels are 0, 1, 2, 3
    made = benchmark({name: [(of_said(s), real) for s in of] for name, of in said.items()}, [""] * 4)
    assert [(h.key, h.label, h.wrong) for h in made.hardest] == [("g2", 2, 1)]
    assert made.hardest[0].said == ((3, 3), (0,))
    # without b, image 3 is wrong for all and image 1 for half, which is not most
    alone = benchmark({"a": [(of_said(s), real) for s in said["a"]]}, [""] * 4)
    assert {h.key: h.wrong for h in alone.hardest} == {"g2": 1, "g3": 1}


@pytest.fixture
def of_said() -> Callable[..., Predictions]:
    """Predictions on four images, g0 to g3 of labels 0 to 3, that say these labels."""

    def made(said: list[int]) -> Predictions:
        logits = np.eye(4, dtype=np.float32)[said]
        return Predictions("generated", logits, np.arange(4), tuple(f"g{i}" for i in range(4)), CLASSES, "")

    return made


def test_predictions_of_other_images_are_refused() -> None:
    generated, real = pair(0.5, 0.5)
    other = predictions("generated", 396, 0.5, 0)
    with pytest.raises(UserError, match="not asked the same images of generated"):
        benchmark({"a": [(generated, real)], "b": [(other, real)]}, [""] * 400)
