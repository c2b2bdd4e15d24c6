"""A benchmark's metrics against numbers worked out otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from genrobust.core import Predictions
from genrobust.robustness.accuracy import clopper_pearson
from genrobust.tools.benchmark.scoring import benchmark

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


def over_all(models: dict[str, list[tuple[Predictions, Predictions]]], **more: Any) -> tuple[Any, ...]:
    """The scores of each model on images of unknown style."""
    return benchmark(models, ([""] * 400, [""] * 600), **more).overall


def test_one_checkpoint_has_exact_intervals_and_a_drop_over_the_images_of_both_sets() -> None:
    (scores,) = over_all({"only": [pair(0.4, 0.9)]})
    lo, hi = clopper_pearson(160, 400)
    assert (scores.generated.value, scores.generated.lo, scores.generated.hi) == pytest.approx((40, 100 * lo, 100 * hi))
    assert (scores.real.value, scores.real.n) == (pytest.approx(90), 600)
    assert (scores.drop.value, scores.drop.n) == (pytest.approx(50), 1000)
    # of two independent proportions, by the normal approximation
    half = 196 * np.sqrt(0.4 * 0.6 / 400 + 0.9 * 0.1 / 600)
    assert (scores.drop.lo, scores.drop.hi) == pytest.approx((50 - half, 50 + half), abs=0.7)
    assert scores.drop.method == "bootstrap 95 % over images of both sets"


def test_checkpoints_of_one_name_are_averaged_and_widen_the_interval_by_their_spread() -> None:
    (apart,) = over_all({"m": [pair(0.2, 0.9), pair(0.4, 0.9, 1), pair(0.6, 0.9, 2)]})
    (alike,) = over_all({"m": [pair(0.4, 0.9), pair(0.4, 0.9, 1), pair(0.4, 0.9, 2)]})
    assert apart.generated.value == pytest.approx(40)
    widths = [of.drop.hi - of.drop.lo for of in (apart, alike)]
    # three seeds with a standard deviation of 20 points, so one of 11.5 of their mean, by images about 2; Student's t
    # with little more than two degrees of freedom
    assert widths[0] == pytest.approx(2 * 4.1 * np.hypot(20 / np.sqrt(3), 2), rel=0.15)
    assert widths[1] < 10
    assert "3 seeds" in apart.drop.method


def test_models_are_held_against_the_first_on_the_same_images() -> None:
    one, other = pair(0.4, 0.9), pair(0.7, 0.8, 5)
    first, same, better = over_all({"a": [one], "b": [one], "c": [other]})
    assert first.beyond is None
    assert (same.beyond.value, same.beyond.lo, same.beyond.hi) == (0, 0, 0)
    assert better.beyond.value == pytest.approx((80 - 70) - (90 - 40))
    sides = [100 * (right(o).astype(float) - right(f)) for o, f in zip(other, one, strict=True)]
    half = 1.96 * np.sqrt(sum(d.var() / len(d) for d in sides))  # the paired difference on each side
    assert (better.beyond.lo, better.beyond.hi) == pytest.approx((-40 - half, -40 + half), abs=1)


def test_few_checkpoints_tell_no_model_from_its_like() -> None:
    """Of models that are alike but for the noise of training, about one in twenty differs from the first."""
    rng, apart = np.random.default_rng(3), 0
    for _ in range(60):
        noise = rng.normal(0, 0.04, (2, 3))
        models = {
            name: [pair(0.6 + of_one, 0.6, int(rng.integers(1 << 30))) for of_one in own]
            for name, own in zip("ab", noise, strict=True)
        }
        beyond = over_all(models, bootstrap=200)[1].beyond
        apart += not beyond.lo <= 0 <= beyond.hi
    assert apart <= 6  # 3 are expected, more than 6 in one of 30 such tests


def test_groups_of_real_images_widen_what_depends_on_them_and_nothing_else() -> None:
    """Twelve photographers, of whom each model knows others: all of their images are right, or none is."""

    def known(found: Predictions, sites: range) -> Predictions:
        sure = np.eye(len(CLASSES), dtype=np.float32)[(found.labels + ~np.isin(np.arange(600) % 12, sites)) % 4]
        return replace(found, logits=sure)

    generated, real = pair(0.4, 0.9)
    asked = {"a": [(generated, known(real, range(6)))], "b": [(generated, known(real, range(4, 8)))]}
    groups = [f"hand {i % 12}" for i in range(600)]
    plain, grouped = over_all(asked), over_all(asked, groups=groups)
    for one, other in zip(plain, grouped, strict=True):
        assert other.generated == one.generated
        for metric in ("real", "drop", *(["beyond"] if one.beyond else [])):
            before, after = getattr(one, metric), getattr(other, metric)
            assert after.value == pytest.approx(before.value)
            assert after.hi - after.lo > 4 * (before.hi - before.lo)
            assert (before.groups, after.groups) == (0, 12)
            assert "12 groups" in after.method
    assert grouped[1].beyond is not None
    assert over_all(asked, groups=["one"] * 600) == plain


def test_classes_and_styles_are_scored_apart() -> None:
    members = [pair(0.5, 0.7), pair(0.3, 0.6, 3)]
    styles = ["solid" if i % 3 else "" if i % 2 else "emoji" for i in range(400)]
    models = {"one": members[:1], "both": members}
    assert benchmark(models, (styles, [""] * 600)).within == (), "no style is in both sets"
    made = benchmark(models, (styles, ["solid", "emoji", ""] * 200))
    assert made.models == {"one": 1, "both": 2}
    assert made.sizes == [[100, 150]] * 4
    assert made.styles == {"": (67, 200), "emoji": (67, 200), "solid": (266, 200)}
    assert list(made.by_style) == ["emoji", "solid"]
    for number, of in enumerate(models.values()):
        for label, accuracies in enumerate(made.by_class):
            expected = [np.mean([right(p[i])[p[i].labels == label].mean() for p in of]) for i in (0, 1)]
            assert accuracies[number] == pytest.approx([100 * e for e in expected])
        for style, scores in made.by_style.items():
            here, score = np.array(styles) == style, scores[number].generated
            assert score.value == pytest.approx(100 * np.mean([right(g)[here].mean() for g, _ in of]))
            assert (score.n, score.lo < score.value < score.hi) == (here.sum(), True)


GENERATED = ["outline"] * 10 + ["emoji"] * 40 + ["sketch"] * 20 + [""] * 4
REAL = ["outline"] * 30 + ["emoji"] * 8 + ["pixel"] * 5


def answered(name: str, styles: list[str], **right: int) -> Predictions:
    """Of the images of each style, so many are right: the first ones; of other styles none."""
    labels = np.arange(len(styles)) % len(CLASSES)
    sure = np.array([styles[:i].count(style) < right.get(style or "unknown", 0) for i, style in enumerate(styles)])
    logits = np.eye(len(CLASSES), dtype=np.float32)[np.where(sure, labels, (labels + 1) % len(CLASSES))]
    return Predictions(name, logits, labels, tuple(f"{name}-{i}" for i in range(len(styles))), CLASSES, "")


def styled(outline: tuple[int, int], emoji: tuple[int, int], **others: int) -> tuple[Predictions, Predictions]:
    """Right answers of each shared style in both sets; `others` of those in one."""
    sides = zip(("generated", "real"), (GENERATED, REAL), outline, emoji, strict=True)
    made, real = (answered(name, styles, outline=o, emoji=e, **others) for name, styles, o, e in sides)
    return made, real


def test_the_drop_within_styles_is_the_mean_of_those_of_the_shared_styles() -> None:
    """Outlines 80 % and 90 %, emoji 25 % and 50 %; second checkpoint 60 % and 80 %, 50 % and 75 %."""
    members = [styled((8, 27), (10, 4), sketch=1, pixel=5), styled((6, 24), (20, 6), unknown=4)]
    models = {"one": members[:1], "both": members}
    made = benchmark(models, (GENERATED, REAL))
    assert made.styles == {"": (4, 0), "emoji": (40, 8), "outline": (10, 30), "pixel": (0, 5), "sketch": (20, 0)}
    values = {style: [of.generated.value, of.real.value, of.drop.value] for style, (of, _) in made.by_style.items()}
    assert values == {"emoji": pytest.approx([25, 50, 25]), "outline": pytest.approx([80, 90, 10])}
    for scores, expected in zip(made.within, ((52.5, 70, 17.5), (53.75, 73.75, 20)), strict=True):
        assert (scores.generated.value, scores.real.value, scores.drop.value) == pytest.approx(expected)
        assert (scores.generated.n, scores.real.n, scores.drop.n) == (50, 38, 88)
        assert all("mean of 2 styles" in score.method for score in (scores.generated, scores.real, scores.drop))
    # over all images: 19 of 74 and 36 of 43
    assert made.overall[0].drop.value == pytest.approx(100 * (36 / 43 - 19 / 74))
    assert made.overall == benchmark(models, ([""] * 74, [""] * 43)).overall, "styles change no metric over all images"


def test_intervals_within_styles_are_over_the_images_of_each_style_and_paired_over_models() -> None:
    styles = ["outline"] * 150 + ["emoji"] * 250, ["outline"] * 400 + ["emoji"] * 200
    members = [pair(0.4, 0.9), pair(0.7, 0.8, 5)]
    models = {"a": members[:1], "b": members[:1], "c": members[1:]}
    first, same, other = benchmark(models, styles).within
    assert first.beyond is None

    def half(values: list[np.ndarray]) -> float:
        """1.96 standard errors of the mean over styles of what each image contributes, in points."""
        parts = [v[np.array(of) == s] for v, of in zip(values, styles, strict=True) for s in ("outline", "emoji")]
        return 196 * float(np.sqrt(sum(p.var() / len(p) for p in parts)) / 2)

    drop, error = first.drop, half([right(p).astype(float) for p in members[0]])
    assert (drop.lo, drop.hi) == pytest.approx((drop.value - error, drop.value + error), abs=0.7)
    none, beyond = same.beyond, other.beyond
    assert (none.value, none.lo, none.hi) == (0, 0, 0)
    assert beyond.value == pytest.approx(other.drop.value - drop.value)
    error = half([right(o).astype(float) - right(f) for o, f in zip(members[1], members[0], strict=True)])
    assert (beyond.lo, beyond.hi) == pytest.approx((beyond.value - error, beyond.value + error), abs=1)


def test_where_all_images_have_one_style_nothing_is_scored_within_it() -> None:
    made = benchmark({"a": [pair(0.4, 0.9)]}, (["solid"] * 400, ["solid"] * 600))
    assert (made.within, made.by_style) == ((), {})
    assert made.overall == over_all({"a": [pair(0.4, 0.9)]})


def test_styles_whose_images_are_all_right_or_all_wrong_have_intervals_of_some_width() -> None:
    """Outlines of ten and thirty images, all right; emoji of forty and eight, all wrong and all right."""
    made = benchmark({"m": [styled((10, 30), (0, 8))]}, (GENERATED, REAL))
    drops = [made.by_style[style][0].drop for style in ("outline", "emoji")]
    lo, hi = (np.array([getattr(drop, end) for drop in drops]) for end in ("lo", "hi"))
    assert (lo[0] < -3, hi[0] > 15) == (True, True)  # limits of Clopper and Pearson are 11.6 and 30.8 points away
    assert (50 < lo[1] < 80, hi[1]) == (True, 100)  # 8.8 and 36.9
    within = made.within[0].drop
    assert within.value == pytest.approx(50)
    assert 25 < within.lo < 47 and within.hi > 50


def test_groups_of_real_images_widen_the_drop_within_styles() -> None:
    """Each style has six designers, all of whose images are right, or none; but all emoji are of one."""
    styles = ["outline", "solid", "emoji"] * 200
    groups = ["moz" if style == "emoji" else f"hand {i % 18}" for i, style in enumerate(styles)]
    known = np.array([int(group.split()[-1]) < 9 if " " in group else i % 4 > 1 for i, group in enumerate(groups)])
    real = predictions("real", 600, 1, 0)
    logits = np.eye(len(CLASSES), dtype=np.float32)[(real.labels + ~known) % 4]
    asked = {"a": [(predictions("generated", 400, 0.4, 0), replace(real, logits=logits))]}
    made = ["outline", "solid", "emoji", "pixel"] * 100
    both = [benchmark(asked, (made, styles), of) for of in (None, groups)]
    emoji = [of.by_style["emoji"][0].drop for of in both]  # which says nothing of other designers
    assert [(drop.groups, round(drop.hi - drop.lo) in range(20, 26)) for drop in emoji] == [(0, True)] * 2
    for style in ("outline", "solid"):
        before, after = (of.by_style[style][0].drop for of in both)
        assert (after.value, after.groups) == (before.value, 6)
        assert after.hi - after.lo > 4 * (before.hi - before.lo)
        assert after.lo >= -100 and after.hi <= 100
    before, after = (of.within[0].drop for of in both)
    assert after.value == pytest.approx(before.value)
    assert after.hi - after.lo > 3 * (before.hi - before.lo)
    assert after.groups == 12


def test_checkpoints_that_are_right_everywhere_still_have_an_interval() -> None:
    (scores,) = over_all({"m": [pair(1, 0.9), pair(1, 0.8, 1)]})
    assert (scores.generated.lo, scores.generated.hi) == pytest.approx((100 * clopper_pearson(400, 400)[0], 100))


def test_the_hardest_images_are_those_that_most_models_get_wrong(of_said: Callable[..., Predictions]) -> None:
    """Two checkpoints of one model weigh as much as one of another."""
    real = predictions("real", 8, 1, 0)
    said = {"a": [[0, 1, 3, 2], [0, 2, 3, 2]], "b": [[1, 1, 0, 3]]}  # labels are 0, 1, 2, 3
    made = benchmark({name: [(of_said(s), real) for s in of] for name, of in said.items()}, ([""] * 4, [""] * 8))
    assert [(h.key, h.label, h.wrong) for h in made.hardest] == [("g2", 2, 1)]
    assert made.hardest[0].taken_for == ((3, 2), (0, 1))
    # without b, image 3 is wrong for all and image 1 for half, which is not most
    alone = benchmark({"a": [(of_said(s), real) for s in said["a"]]}, ([""] * 4, [""] * 8))
    assert {h.key: h.wrong for h in alone.hardest} == {"g2": 1, "g3": 1}


@pytest.fixture
def of_said() -> Callable[..., Predictions]:
    """Predictions on four images, g0 to g3 of labels 0 to 3, that say these labels."""

    def made(said: list[int]) -> Predictions:
        logits = np.eye(4, dtype=np.float32)[said]
        return Predictions("generated", logits, np.arange(4), tuple(f"g{i}" for i in range(4)), CLASSES, "")

    return made
