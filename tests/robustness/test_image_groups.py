"""Intervals over groups: as wide as another draw of the groups would differ, and never narrower for having few."""

import numpy as np
import pytest
from scipy.special import expit, logit

from genrobust.robustness import Groups, Measured, mean_of, measure_accuracy, seed_weights
from genrobust.robustness.degrees_of_freedom import carried_freedom
from genrobust.robustness.image_groups import group_weights

SIZES = {  # of the groups of test sets in the study of the paper's size: families of designers
    "emoji": (247, 142, 129),
    "illustration": (148, 144, 25, 22),
    "pixel": (109, 107, 36, 20),
    "duotone": (244, 226, 137, 130, 86, 66, 5),
    "solid": (168, 123, 89, 86, 79, 78, 68, 22, 21, 18, 16, 14, 3, 3),
    "outline": (263, 246, 128, 127, 102, 99, 81, 78, 72, 21, 21, 20, 15, 12, 12, 11, 10, 6),
}
FEW = ("illustration", "pixel", "duotone")  # of the sets of few groups, these spread most in the study
SPREADS = {  # of the logits of groups, by set
    "alike": dict.fromkeys(SIZES, 0.2),
    "apart": dict.fromkeys(SIZES, 0.7),
    "unlike": {"emoji": 0.4, "solid": 0.3, "outline": 0.2} | dict.fromkeys(FEW, 1.0),
    "one set": dict.fromkeys(SIZES, 0.2) | {"emoji": 1.5},  # whose largest groups then carry the mean's spread
}


def grouped(sizes, prefix="hand"):
    names = [f"{prefix}-{g}" for g, size in enumerate(sizes) for _ in range(size)]
    return Groups.of(names, np.ones(len(names), dtype=bool))


def drawn(sizes, accuracies, rng):
    """Whether each image is right: bool [1, 1, N]."""
    return np.concatenate([rng.random(n) < p for n, p in zip(sizes, accuracies, strict=True)])[None, None]


def score_of(measured: Measured, bootstrap=1000):
    return measured.arm_score(0, seed_weights(1, bootstrap, np.random.default_rng(0)))


def measure(right, groups, bootstrap=1000):
    return measure_accuracy(right, 10, bootstrap, np.random.default_rng(0), groups)


def test_equal_groups_count_in_full_and_a_large_one_outweighs_the_rest():
    assert grouped((10,) * 7).effective == pytest.approx(7)
    assert grouped((1000, 1, 1)).effective == pytest.approx(1, abs=0.01)
    assert grouped((247, 142, 129)).effective == pytest.approx(2.8, abs=0.1)


def test_a_group_weighs_the_same_in_every_test_set():
    one, other = grouped((5, 5, 5)), Groups.of(["hand-2"] * 3 + ["else"], np.ones(4, dtype=bool))
    weights = dict(zip(other.names, group_weights(other.names, 50).T, strict=True))
    assert np.array_equal(weights["hand-2"], group_weights(one.names, 50)[:, one.names.index("hand-2")])
    assert not np.array_equal(weights["else"], weights["hand-2"])


def test_where_each_image_is_a_group_the_interval_is_that_over_images():
    right = np.random.default_rng(1).random((1, 1, 900)) < 0.7
    own = score_of(measure(right, grouped((1,) * 900)))
    plain = score_of(measure(np.repeat(right, 2, axis=1), None))  # two seeds alike: no exact interval
    assert (own.lo, own.hi) == pytest.approx((plain.lo, plain.hi), abs=0.5)
    assert own.groups == 900 and plain.groups == 0


def test_groups_that_differ_widen_the_interval():
    rng = np.random.default_rng(2)
    right = drawn((100,) * 9, np.linspace(0.3, 0.9, 9), rng)
    over, plain = score_of(measure(right, grouped((100,) * 9))), score_of(measure(right, None))
    assert over.value == plain.value
    assert over.hi - over.lo > 3 * (plain.hi - plain.lo)
    assert over.method == "bootstrap 95 % over 9 groups; one seed"


@pytest.mark.parametrize("groups", [5, 8])
def test_replicates_over_groups_have_the_variance_of_other_draws_of_them_and_intervals_cover(groups):
    """2,000 test sets of a known population: accuracies of groups are normal with 60 +- 8 %, 100 images in each."""
    rng, times, of_images = np.random.default_rng(0), 2000, grouped((100,) * groups)
    covered, variances = 0, []
    for _ in range(times):
        measured = measure(drawn((100,) * groups, rng.normal(0.6, 0.08, groups), rng), of_images)
        score = score_of(measured)
        covered += score.lo <= 60 <= score.hi
        variances.append(measured.draws.var())
    of_an_image = 100**2 * (0.6 * 0.4 - 0.08**2)
    assert np.mean(variances) == pytest.approx((8**2 + of_an_image / 100) / groups, rel=0.06)
    assert covered >= 0.95 * times


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_few_groups_that_agree_by_chance_say_no_more_than_their_images(groups):
    sizes, rng = (60,) * groups, np.random.default_rng(0)
    right = np.stack([np.arange(60 * groups) % 3 == 0, np.arange(60 * groups) % 2 == 0])[:, None]
    seeds = seed_weights(1, 1000, rng)
    measured = measure(right, grouped(sizes)), measure(right, None)
    over, plain = ((m.arm_score(0, seeds), m.difference(0, 1, seeds)) for m in measured)
    for of_groups, of_images in zip(over, plain, strict=True):
        assert of_groups.hi - of_groups.lo > of_images.hi - of_images.lo > 0
    assert over[1].p > plain[1].p > 0


def test_two_groups_say_next_to_nothing_and_one_is_no_group():
    rng = np.random.default_rng(3)
    score = score_of(measure(drawn((200, 200), (0.5, 0.7), rng), grouped((200, 200))))
    assert (score.lo, score.hi) == (0, 100)
    assert grouped((200,)) is None
    assert Groups.of(None, np.ones(4, dtype=bool)) is None


def test_a_mean_counts_every_group_once_and_keeps_what_its_smallest_set_lacks():
    rng = np.random.default_rng(4)
    parts = [measure(drawn(sizes, rng.uniform(0.4, 0.8, len(sizes)), rng), grouped(sizes)) for sizes in SIZES.values()]
    mean = mean_of(parts, "mean of 6 shifts")
    assert score_of(mean).method == "mean of 6 shifts; bootstrap 95 % over 18 groups; one seed"
    assert min(part.freedom for part in parts) < mean.freedom < sum(part.freedom for part in parts)
    assert mean_of([measure(drawn((50,), (0.5,), rng), None)] * 2, "both").freedom == np.inf


def test_groups_count_as_they_carry_the_spread():
    """24 groups of one size: as many as differ from the rest, and what none of them explains has its own freedom."""
    shares = {f"hand-{g}": 1 / 24 for g in range(24)}
    weights = group_weights(tuple(shares), 1000)
    at = weights / weights.sum(axis=1, keepdims=True)
    accuracies = np.zeros((3, 24))
    accuracies[0] = 1 - np.arange(24) % 2  # all deviate alike
    accuracies[1, :2] = 1, -1
    accuracies[2, 5] = 1
    counted = [carried_freedom(at @ accuracy, shares, np.inf) for accuracy in accuracies]
    assert counted == pytest.approx([24, 2, 23**2 * 24**2 / (23**4 + 23)], rel=1e-6)
    large = {name: share * (10 if name == "hand-5" else 1) for name, share in shares.items()}
    share = np.array([*large.values()])
    drawn = weights * share
    counted_large = carried_freedom(drawn / drawn.sum(axis=1, keepdims=True) @ accuracies[2], large, np.inf)
    squares = (share * (accuracies[2] - share @ accuracies[2] / share.sum())) ** 2
    assert counted_large == pytest.approx(squares.sum() ** 2 / (squares**2).sum(), rel=1e-6), (
        "around the mean of images"
    )
    noise = np.random.default_rng(8).standard_normal(1000)
    assert carried_freedom(noise, shares, 30) == pytest.approx(30, rel=0.15)
    assert carried_freedom(np.ones(1000), shares, 30) == carried_freedom(noise[:48], shares, 30) == np.inf
    assert carried_freedom(noise[:49], shares, 30) < np.inf, "with more than two replicates per group there is a fit"


@pytest.mark.thorough
@pytest.mark.parametrize("spread", SPREADS.values(), ids=SPREADS)
def test_intervals_hold_what_they_promise_at_the_numbers_of_groups_of_pictograms(spread):
    """Accuracies of groups from a logit-normal distribution; a group that draws for two sets is good at both."""
    rng, times = np.random.default_rng(5), 400
    many = rng.standard_normal(200_000)
    truth = {name: 100 * expit(logit(0.6) + spread[name] * many).mean() for name in SIZES}
    held = dict.fromkeys([*SIZES, "mean"], 0)
    for _ in range(times):
        hands = rng.standard_normal(max(map(len, SIZES.values())))
        parts = []
        for name, sizes in SIZES.items():
            own = (hands[: len(sizes)] + rng.standard_normal(len(sizes))) / np.sqrt(2)
            parts.append(measure(drawn(sizes, expit(logit(0.6) + spread[name] * own), rng), grouped(sizes)))
            score = score_of(parts[-1])
            held[name] += score.lo <= truth[name] <= score.hi
        score = score_of(mean_of(parts, "mean"))
        held["mean"] += score.lo <= np.mean(list(truth.values())) <= score.hi
    assert min(held.values()) >= 0.9 * times, held


@pytest.mark.thorough
@pytest.mark.parametrize("spread", SPREADS.values(), ids=SPREADS)
def test_two_arms_that_are_alike_differ_no_more_often_than_they_may(spread):
    """Groups are as hard for both arms but for an interaction, so that the true difference is none; three seeds."""
    rng, times = np.random.default_rng(6), 1000
    missed, found = dict.fromkeys([*SIZES, "mean"], 0), dict.fromkeys([*SIZES, "mean"], 0)
    for _ in range(times):
        parts, hands = [], rng.standard_normal((2, 18))
        trained = 0.1 * rng.standard_normal((2, 3))  # what a training adds: points of the logit
        for name, sizes in SIZES.items():
            groups = len(sizes)
            own = (hands[:, :groups] + rng.standard_normal((2, groups))) / np.sqrt(2)
            both = rng.standard_normal(groups)
            hard = spread[name] * (both + 0.5 * own) / np.sqrt(1.25)
            logits = logit(0.6) + hard[:, None] + trained[:, :, None]
            right = np.stack([[drawn(sizes, expit(seed), rng)[0, 0] for seed in arm] for arm in logits])
            parts.append(measure(right, grouped(sizes)))
        for name, part in zip(missed, (*parts, mean_of(parts, "mean")), strict=True):
            score = part.difference(1, 0, seed_weights(3, 1000, np.random.default_rng(0)))
            missed[name] += not score.lo <= 0 <= score.hi
            found[name] += score.p < 0.05
    assert max(*missed.values(), *found.values()) <= 0.06 * times, (missed, found)  # 5 %, and chance
