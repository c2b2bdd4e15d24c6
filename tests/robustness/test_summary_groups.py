"""Means over the arms of a group: against a plain computation image by image, and what is resampled."""

from itertools import product

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import norm, t as student

from genrobust.core import MEAN_OF_SHIFTS, BaselineModel, UserError
from genrobust.robustness import Comparison, find_metric, fit_lines, summarize

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
    BaselineModel(f"m{i}", shift, 44 + 5.5 * i, 20 + 6 * i + (i * 7 % 5)) for shift in SHIFTS for i in range(10)
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


METRICS = [find_metric("top1"), find_metric("er")]


def summed(study, baselines=(), reference="real, a", **comparison):
    return summarize(study, Comparison("test", SHIFTS, reference, **comparison), baselines, METRICS)


@pytest.fixture
def summary(study):
    return summed(study, BASELINES, bootstrap=1500, references=REFERENCES, groups=GROUPS)


def plainly(right, images, models, off, seeds, arms, group, test):
    """Effective robustness and top-1 of a group, as plainly as can be: loops, index lists and weights given.

    The network lies `off` the line by so many standard deviations.
    """
    members = np.isin(LABELS["test"], ONLY.get(test, range(6)))
    rows = [b for b in BASELINES if b.test_set == test]
    x, y = (logit(np.array([getattr(b, key) for b in rows]) / 100)[models] for key in ("clean", "shifted"))
    slope, intercept = np.polyfit(x, y, 1)
    intercept += off * fit_lines(BASELINES, [test])[test].residual_sd
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


def test_the_values_are_those_of_a_plain_computation(right, summary):
    everything = {test: np.arange(n) for test, n in N.items()}
    assert list(summary.groups) == list(GROUPS)
    for group, arms in summary.groups.items():
        found = []
        for shift in SHIFTS:
            values = plainly(right, everything, np.arange(10), 0, even(3), even(3), group, shift)
            found.append([summary.score(metric, group, shift).value for metric in ("top1", "er")])
            assert found[-1] == pytest.approx(values)
        means = [summary.score(metric, group).value for metric in ("top1", "er")]
        assert means == pytest.approx(np.mean(found, axis=0))
        clean = np.mean([right[arm, "test"] for arm in arms])
        assert summary.score("top1", group, "test").value == pytest.approx(100 * clean)
        assert summary.score("top1", group).method.startswith("mean of 2 shifts and 3 arms;")
        assert summary.score("top1", group, "test").method.startswith("mean of 3 arms;")
        assert summary.find("er", group, "test") is None


def test_gains_are_means_of_each_arm_minus_its_own_reference(summary):
    gains = {key: score for key, score in summary.scores.items() if key.arm in GROUPS and key.minus == "real"}
    assert {key.arm for key in gains} == {"generated", "mixed"}
    for key, score in gains.items():
        arms = GROUPS[key.arm]
        each = [summary.score(key.metric, arm, key.test_set, minus=REFERENCES[arm]).value for arm in arms]
        assert score.value == pytest.approx(np.mean(each))
    assert {k.test_set for k in gains if k.metric == "er"} == {*SHIFTS, MEAN_OF_SHIFTS}
    apart = summary.difference("top1", "mixed", "generated")
    assert apart.value == pytest.approx(
        gains["top1", "mixed", MEAN_OF_SHIFTS, None, "real"].value
        - gains["top1", "generated", MEAN_OF_SHIFTS, None, "real"].value
    )
    of_top1 = {k.test_set for k in gains if k.metric == "top1"}
    assert of_top1 == {"test", *SHIFTS, MEAN_OF_SHIFTS, *summary.paired.values()}


@pytest.mark.thorough
def test_the_intervals_are_those_of_a_plain_bootstrap_over_images_baselines_seeds_and_arms(right, summary):
    rng, drawn, still = np.random.default_rng(5), [], []
    places = list(product(SHIFTS, ("real", "mixed")))
    for _ in range(1500):
        images = {test: rng.integers(0, n, n) for test, n in N.items()}
        models, off = rng.integers(0, 10, 10), rng.standard_normal()
        # three that are drawn with replacement, with the spread of a sample: see `seed_weights`
        seeds, arms = (1 / 3 + (rng.multinomial(3, even(3)) / 3 - 1 / 3) * np.sqrt(1.5) for _ in range(2))
        drawn.append([plainly(right, images, models, off, seeds, arms, group, test) for test, group in places])
        still.append([plainly(right, images, models, off, even(3), even(3), group, test) for test, group in places])
    draws, of_images = np.array(drawn), np.array(still)  # [replicates, set and group, metric]
    whole = {test: np.arange(n) for test, n in N.items()}, np.arange(10), 0

    def alone(seeds, arms):
        return [plainly(right, *whole, seeds, arms, group, test) for test, group in places]

    by_seed = np.array([alone(one, even(3)) for one in np.eye(3)])  # [seeds, set and group, metric]
    by_arm = np.array([alone(even(3), one) for one in np.eye(3)])

    def ends(of, own=np.inf):
        seeds, arms = of(by_seed), of(by_arm)
        few = [part.var(ddof=1) / 3 for part in (seeds, arms)]  # three of either: two degrees of freedom
        rest = of(of_images).var()
        freedom = (rest + sum(few)) ** 2 / (rest**2 / own + sum(variance**2 / 2 for variance in few))
        wider = student.ppf(0.975, freedom) / norm.ppf(0.975)
        lo, hi = seeds.mean() + wider * (np.percentile(of(draws), (2.5, 97.5)) - seeds.mean())
        return pytest.approx((lo, hi), abs=0.1 * (hi - lo))  # within what two bootstraps of 1,500 differ by

    # a line through ten models has eight degrees of freedom
    for f, (metric, own) in enumerate((("top1", np.inf), ("er", 8))):
        for i, (test, group) in enumerate(places):
            score = summary.score(metric, group, test)
            assert (score.lo, score.hi) == ends(lambda of, i=i, f=f: of[:, i, f], own)
        for i, test in enumerate(SHIFTS):
            score = summary.score(metric, "mixed", test, minus="real")
            assert (score.lo, score.hi) == ends(lambda of, i=i, f=f: of[:, 2 * i + 1, f] - of[:, 2 * i, f], own)
    mean = summary.score("er", "mixed")
    assert (mean.lo, mean.hi) == ends(lambda of: of[:, [1, 3], 1].mean(axis=1), 8)


def test_the_reference_of_a_group_is_a_group_or_an_arm_outside_it_or_none(study):
    groups = {"generated": GROUPS["generated"], "real": GROUPS["real"]}
    two = {arm: "mixed, b" if arm.endswith("c") else "mixed, a" for arm in ACCURACY}
    for reference, references, expected in (
        ("mixed, a", {}, ("mixed, a", "mixed, a")),
        ("real, a", two, ("generated", "real")),  # no mean of arms that the study has
        ("real, a", {}, ("real, a", "real")),
        ("real, a", REFERENCES, ("real", "real")),
    ):
        found = summed(study, (), reference, bootstrap=20, groups=groups, references=references)
        assert tuple(map(found.reference_of, groups)) == expected


def test_a_group_is_held_against_another_only_where_its_difference_is_that_of_the_means(study):
    groups = {"one": ["mixed, a", "mixed, b", "mixed, c"], "two": ["real, a", "real, b"], "alone": ["real, c"]}
    twice = dict.fromkeys(groups["one"], "real, a") | {"mixed, c": "real, b"}
    of_one = summed(study, (), groups=groups, references=REFERENCES | twice)
    assert not any(key.arm == "one" and key.minus for key in of_one.scores), "real, a would count twice"
    single = summed(study, (), groups=groups, references=REFERENCES | dict.fromkeys(groups["one"], "real, c"))
    gains = {key.minus: score for key, score in single.scores.items() if key.arm == "one" and key.minus}
    assert gains.keys() == {"real, c", "alone"}, "an arm, and the group that it is all of"


def test_groups_change_nothing_else(study):
    bare = summed(study, BASELINES, bootstrap=100)
    grouped = summed(study, BASELINES, bootstrap=100, groups=GROUPS)
    assert bare.groups == {}
    assert bare.scores == {key: score for key, score in grouped.scores.items() if key.arm not in GROUPS}
    assert {bare.reference_of(arm) for arm in bare.arms} == {"real, a"}


@pytest.mark.parametrize("change", [{"groups": {"more": ["real, d"]}}, {"references": {"real, b": "real, d"}}])
def test_arms_that_are_not_there_are_named(study, change):
    with pytest.raises(UserError, match=r"'real, d' .*real, a"):
        summed(study, **change)
