"""Means over the arms of a group: against a plain computation image by image, and what is resampled."""

from itertools import product

import numpy as np
import pytest
from scipy.special import expit, logit

from genrobust.core.errors import UserError
from genrobust.core.results import MEAN_OF_SHIFTS, BaselineModel
from genrobust.robustness.compare import Measured
from genrobust.robustness.groups import over_arms
from genrobust.robustness.summary import summarize

NETWORKS, SEEDS, SHIFTS = ("a", "b", "c"), (0, 1, 2), ("solid", "emoji")
N = {"test": 300, "solid": 250, "emoji": 200}
ONLY = {"emoji": [1, 3, 4]}
RISE = {"real": 0, "generated": 0.12, "mixed": 0.2}  # of the shifted accuracy, over that of real
ACCURACY = {
    f"{group}, {network}": {"test": 0.7 + 0.03 * i, "solid": 0.45 + 0.03 * i + rise, "emoji": 0.35 - 0.02 * i + rise}
    for i, network in enumerate(NETWORKS)
    for group, rise in RISE.items()
}
GROUPS = {group: [f"{group}, {network}" for network in NETWORKS] for group in RISE}
REFERENCES = {arm: f"real, {arm[-1]}" for arm in ACCURACY}
BASELINES = tuple(
    BaselineModel(f"m{i}", shift, 50 + 4 * i, 25 + 4 * i + (i * 7 % 5)) for shift in SHIFTS for i in range(10)
)


@pytest.fixture(scope="module")
def right() -> dict[tuple[str, str], np.ndarray]:
    """Right or wrong by arm and test set: bool [seeds, images], and of "clean for emoji" the emoji classes alone."""
    found = {}
    for t, (test, n) in enumerate(N.items()):
        hard = np.random.default_rng(t).random(n)
        for a, (arm, of_sets) in enumerate(ACCURACY.items()):
            own = np.random.default_rng([t, a]).random((len(SEEDS), n))
            shift = np.random.default_rng([a]).uniform(-0.03, 0.03, (len(SEEDS), 1))
            found[arm, test] = 0.7 * hard + 0.3 * own < of_sets[test] + shift
    return found


LABELS = {
    test: np.random.default_rng(9 + t).choice(ONLY.get(test, list(range(6))), n)
    for t, (test, n) in enumerate(N.items())
}


@pytest.fixture
def study(right, predictions_of):
    return {
        (arm, seed, test): predictions_of(
            # a wrong guess is of a class that every set has, so that a restriction to classes changes no answer
            np.where(right[arm, test][s], LABELS[test], np.where(LABELS[test] == 1, 3, 1)),
            LABELS[test],
            classes=6,
            test_set=test,
        )
        for arm, test in right
        for s, seed in enumerate(SEEDS)
    }


@pytest.fixture
def summary(study):
    return summarize(study, BASELINES, "test", SHIFTS, "real, a", bootstrap=1500, references=REFERENCES, groups=GROUPS)


def plainly(right, images, models, seeds, arms, group, test):
    """Effective robustness and top-1 of a group, as plainly as can be: loops, index lists and weights given."""
    members = np.isin(LABELS["test"], ONLY.get(test, range(6)))
    rows = [b for b in BASELINES if b.test_set == test]
    x, y = (logit(np.array([getattr(b, key) for b in rows]) / 100)[models] for key in ("clean", "shifted"))
    slope, intercept = np.polyfit(x, y, 1)
    top1 = er = 0.0
    for (g, arm), (s, _) in product(enumerate(GROUPS[group]), enumerate(SEEDS)):
        weight = arms[g] * seeds[s]
        clean_images = images["test"][members[images["test"]]]
        clean, shifted = right[arm, "test"][s][clean_images].mean(), right[arm, test][s][images[test]].mean()
        top1 += weight * 100 * shifted
        er += weight * 100 * (shifted - expit(intercept + slope * logit(clean)))
    return top1, er


def even(count):
    return np.full(count, 1 / count)


def close_to(ends):
    """Within what two bootstraps of 1,500 replicates differ by."""
    return pytest.approx(tuple(ends), abs=0.1 * (ends[1] - ends[0]))


def test_the_values_are_those_of_a_plain_computation(right, summary):
    everything = {test: np.arange(n) for test, n in N.items()}
    assert [group.name for group in summary.groups] == list(GROUPS)
    for group in summary.groups:
        of_shifts = []
        for shift in SHIFTS:
            top1, er = plainly(right, everything, np.arange(10), even(3), even(3), group.name, shift)
            assert (group.top1[shift].value, group.er[shift].value) == pytest.approx((top1, er))
            of_shifts.append((top1, er))
        means = (group.top1[MEAN_OF_SHIFTS].value, group.er[MEAN_OF_SHIFTS].value)
        assert means == pytest.approx(tuple(np.mean(of_shifts, axis=0)))
        clean = np.mean([right[arm, "test"] for arm in group.arms])
        assert group.top1["test"].value == pytest.approx(100 * clean)
        assert "test" not in group.er


def test_gains_are_means_of_each_arm_minus_its_own_reference(summary):
    real, generated, mixed = summary.groups
    assert (real.reference, real.top1_gain, real.er_gain) == ("", {}, {})
    assert (generated.reference, mixed.reference) == ("real", "real")
    of_arms = {(d.arm, d.test_set, d.figure): (d.reference, d.score.value) for d in summary.differences}
    for group in (generated, mixed):
        for figure, gains in (("top1", group.top1_gain), ("er", group.er_gain)):
            for test, score in gains.items():
                found = [of_arms[arm, test, figure] for arm in group.arms]
                assert [reference for reference, _ in found] == GROUPS["real"]
                assert score.value == pytest.approx(np.mean([value for _, value in found]))
        assert set(group.er_gain) == {*SHIFTS, MEAN_OF_SHIFTS}
        assert set(group.top1_gain) == {"test", *SHIFTS, MEAN_OF_SHIFTS}
    assert {d.reference for d in summary.differences} == set(GROUPS["real"])


def test_the_intervals_are_those_of_a_plain_bootstrap_over_images_baselines_seeds_and_arms(right, summary):
    rng, drawn = np.random.default_rng(5), []
    for _ in range(1500):
        images = {test: rng.integers(0, n, n) for test, n in N.items()}
        models = rng.integers(0, 10, 10)
        # three that are drawn with replacement, with the spread of a sample: see `seed_weights`
        seeds, arms = (1 / 3 + (rng.multinomial(3, even(3)) / 3 - 1 / 3) * np.sqrt(1.5) for _ in range(2))
        drawn.append(
            [plainly(right, images, models, seeds, arms, group, "solid") for group in ("real", "mixed")]
            + [plainly(right, images, models, seeds, arms, group, "emoji") for group in ("real", "mixed")]
        )
    draws = np.array(drawn)  # [replicates, set and group, figure]
    real, _, mixed = summary.groups
    ends = np.percentile(draws, (2.5, 97.5), axis=0)
    gains = np.percentile(draws[:, [1, 3]] - draws[:, [0, 2]], (2.5, 97.5), axis=0)
    for i, (test, group) in enumerate(product(SHIFTS, (real, mixed))):
        for f, score in enumerate((group.top1[test], group.er[test])):
            assert (score.lo, score.hi) == close_to(ends[:, i, f])
    for i, test in enumerate(SHIFTS):
        for f, score in enumerate((mixed.top1_gain[test], mixed.er_gain[test])):
            assert (score.lo, score.hi) == close_to(gains[:, i, f])
    mean = np.percentile(draws[:, [1, 3], 1].mean(axis=1), (2.5, 97.5))
    assert (mixed.er[MEAN_OF_SHIFTS].lo, mixed.er[MEAN_OF_SHIFTS].hi) == close_to(mean)


def test_the_method_says_what_was_resampled(study, summary):
    group = summary.groups[2]
    assert group.top1["solid"].method == "mean of 3 arms; bootstrap 95 % over images, 3 arms and 3 seeds"
    assert group.er["solid"].method == "mean of 3 arms; bootstrap 95 % over images, baselines, 3 arms and 3 seeds"
    assert group.er_gain[MEAN_OF_SHIFTS].method == (
        "mean of 2 shifts and 3 arms; bootstrap 95 % over images, baselines, 3 arms and 3 seeds"
    )
    one = {key: found for key, found in study.items() if key[1] == 0}
    two = {"real": GROUPS["real"][:2], "one": GROUPS["mixed"][:1]}
    pair, single = summarize(one, BASELINES, "test", SHIFTS, "real, a", bootstrap=50, groups=two).groups
    assert pair.er["solid"].method == "mean of 2 arms; bootstrap 95 % over images and baselines; one seed"
    assert single.top1["solid"].method == "mean of 1 arm; bootstrap 95 % over images; one seed"


def test_two_arms_are_averaged_and_not_resampled():
    rng = np.random.default_rng(0)
    point = np.array([[50.0], [70.0], [90.0]])  # arms far apart, each known exactly
    measured = Measured(point, np.repeat(point[None], 400, axis=0), 100, 6, "images", bounds=(0, 100))
    weights = np.ones((400, 1))
    two = over_arms(measured, [0, 1]).arm(0, weights)
    assert (two.value, two.lo, two.hi) == (60, 60, 60)
    three = over_arms(measured, [0, 1, 2]).arm(0, weights)
    assert three.value == 70
    assert (three.hi - three.lo) / 2 == pytest.approx(1.96 * 20 / np.sqrt(3), rel=0.15)  # of a mean of three
    same = over_arms(measured, [2, 0, 1], minus=[2, 0, 1]).arm(0, weights)
    assert (same.value, same.lo, same.hi) == (0, 0, 0)
    wide = Measured(point + 30, rng.normal(90, 30, (400, 3, 1)), 100, 6, "images", bounds=(0, 100))
    assert over_arms(wide, [0, 1]).arm(0, weights).hi == 100


def test_the_reference_of_a_group_is_named_by_group_or_arm(study):
    groups = {"generated": GROUPS["generated"], "real": GROUPS["real"]}
    same = summarize(study, (), "test", SHIFTS, "mixed, a", bootstrap=20, groups=groups)
    assert [group.reference for group in same.groups] == ["mixed, a", "mixed, a"]
    assert same.groups[0].er == same.groups[0].er_gain == {}
    two = {arm: "mixed, b" if arm.endswith("c") else "mixed, a" for arm in ACCURACY}
    named = summarize(study, (), "test", SHIFTS, "real, a", bootstrap=20, groups=groups, references=two)
    assert [group.reference for group in named.groups] == ["", ""]  # no mean of arms that the study has
    own = summarize(study, (), "test", SHIFTS, "real, a", bootstrap=20, groups=groups)
    assert [group.reference for group in own.groups] == ["real, a", ""]


def test_a_study_without_groups_or_references_is_as_before(study):
    bare = summarize(study, BASELINES, "test", SHIFTS, "real, a", bootstrap=100)
    grouped = summarize(study, BASELINES, "test", SHIFTS, "real, a", bootstrap=100, groups=GROUPS)
    assert bare.groups == ()
    assert (bare.cells, bare.differences, bare.mean_er) == (grouped.cells, grouped.differences, grouped.mean_er)
    assert {bare.reference_of(arm) for arm in bare.arms} == {"real, a"}


def test_arms_that_are_not_there_are_named(study):
    with pytest.raises(UserError, match="group 'more': 'real, d' is no arm with predictions; the arms are real, a"):
        summarize(study, (), "test", SHIFTS, "real, a", groups={"more": ["real, d"]})
    with pytest.raises(UserError, match="'real, d': no arm with predictions"):
        summarize(study, (), "test", SHIFTS, "real, a", references={"real, b": "real, d"})
