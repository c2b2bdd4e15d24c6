"""Accuracy by class and by group, any two arms, and the images that every classifier gets wrong, against plain sums."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from genrobust.core import ALL_SHIFTS, MEAN_OF_SHIFTS
from genrobust.robustness import Comparison, confident_mistakes, summarize
from genrobust.robustness.breakdown import CONFUSED_PAIRS, MISSED_OF_SET
from genrobust.robustness.score_rows import COMPARED_ON_EACH

SHIFTS = ("solid", "emoji")
ONLY = {"emoji": [1, 3, 4]}  # of six classes
N = {"test": 120, "solid": 200, "emoji": 160}
LEVELS = {"real": 0.5, "generated": 0.4, "mixed": 0.6}
SEEDS = (0, 1)


@pytest.fixture
def study(drawn_study):
    return drawn_study({arm: dict.fromkeys(N, level) for arm, level in LEVELS.items()}, SEEDS, N, ONLY)


def summed(study, **comparison):
    return summarize(study, Comparison("test", SHIFTS, "real", bootstrap=50, min_images=10, **comparison))


def answers(study, arm, seed, test):
    """The guesses among the set's own classes, one an image."""
    found = study[arm, seed, test]
    own = np.array(ONLY.get(test, range(6)))
    return own[found.logits[:, own].argmax(axis=1)]


def test_without_shifts_classes_are_those_of_the_clean_set_and_gaps_stay_gaps(drawn_study):
    few = drawn_study({"real": dict.fromkeys(N, 0.5)}, (0,), N, {"test": [0, 2], "solid": [0, 2], "emoji": [0, 2]})
    summary = summarize(few, Comparison("test", SHIFTS, "real", bootstrap=50, min_images=10_000))
    assert summary.class_sizes.keys() == summary.class_reports.keys() == {"test"}
    assert sum(summary.class_sizes["test"]) == N["test"]
    assert [top1 is None for top1 in summary.class_reports["test"]["real"].recall] == [
        False,
        True,
        False,
        True,
        True,
        True,
    ]


def test_class_reports_count_what_each_class_is_predicted_as(study):
    summary = summed(study, groups={"both": ["generated", "mixed"]})
    for side, tests in (("test", ["test"]), (ALL_SHIFTS, SHIFTS)):
        for name, arms in {"real": ["real"], "both": ["generated", "mixed"]}.items():
            matrix = np.zeros((6, 6))
            for arm, seed, test in product(arms, SEEDS, tests):
                np.add.at(matrix, (study[arm, seed, test].labels, answers(study, arm, seed, test)), 1)
            matrix /= len(arms) * len(SEEDS)
            found = summary.class_reports[side][name]
            assert np.array(found.matrix) == pytest.approx(matrix)
            assert found.precision == pytest.approx(100 * matrix.diagonal() / matrix.sum(axis=0), abs=1e-4)
            assert found.recall == pytest.approx(100 * matrix.diagonal() / matrix.sum(axis=1), abs=1e-4)
            wrong = matrix - np.diag(matrix.diagonal())
            assert len(found.confused) == min(CONFUSED_PAIRS, np.count_nonzero(wrong))
            images = [pair.images for pair in found.confused]
            assert images == pytest.approx(np.sort(wrong.ravel())[::-1][: len(images)])
            for pair in found.confused:
                assert pair.images == pytest.approx(wrong[pair.label, pair.said])
                assert pair.share == pytest.approx(pair.images / matrix[pair.label].sum())
        labels = np.concatenate([study["real", 0, test].labels for test in tests])
        assert summary.class_sizes[side] == tuple(np.bincount(labels, minlength=6))


def test_counts_add_up(study):
    groups = {test: [f"d{i % 3}" for i in range(N[test])] for test in N}
    summary = summed(study, image_groups=groups)
    for test in N:
        sizes = np.bincount(np.arange(N[test]) % 3)
        for arm in LEVELS:
            accuracy = summary.score("top1", arm, test).value
            assert np.average(summary.by_group[test][arm], weights=sizes) == pytest.approx(accuracy)
    for side, images in (("test", N["test"]), (ALL_SHIFTS, N["solid"] + N["emoji"])):
        assert sum(summary.class_sizes[side]) == images
        for arm in LEVELS:
            report = summary.class_reports[side][arm]
            assert np.sum(report.matrix, axis=1) == pytest.approx(summary.class_sizes[side])
            right = np.nansum(np.array(report.recall, dtype=float) / 100 * summary.class_sizes[side])
            assert right == pytest.approx(np.trace(report.matrix), rel=1e-5)
            assert all(pair.share * summary.class_sizes[side][pair.label] == pytest.approx(pair.images)
                       for pair in report.confused)  # fmt: skip
    assert all(summary.missed_counts[test] <= N[test] * (1 - max(summary.score("top1", arm, test, seed).value / 100
               for arm in LEVELS for seed in SEEDS)) for test in N)  # fmt: skip


def test_a_part_of_the_test_sets_is_scored_under_its_name(study):
    rng = np.random.default_rng(0)
    part = {test: rng.random(N[test]) < 0.5 for test in SHIFTS}
    summary = summed(study, subsets={"odd": part, "clean": {"test": np.arange(N["test"]) < 60}, "none": {}})

    def top1(arm):
        right = [[answers(study, arm, s, t) == study[arm, s, t].labels for s in SEEDS] for t in SHIFTS]
        return np.mean([100 * np.mean([r[part[t]] for r in of]) for t, of in zip(SHIFTS, right, strict=True)])

    for arm in LEVELS:
        score = summary.score("top1", arm, "odd")
        assert score.value == pytest.approx(top1(arm)) and score.lo < score.value < score.hi
    gain = summary.score("top1", "mixed", "odd", minus="real")
    assert gain.value == pytest.approx(top1("mixed") - top1("real")) and gain.lo < gain.value < gain.hi
    assert summary.subsets == {"odd": {t: m.sum() for t, m in part.items()}, "clean": {"test": 60}}
    with pytest.raises(ValueError, match="3 of 200 images"):
        summed(study, subsets={"odd": {"solid": [True, False, True]}})


def test_a_gain_without_a_group_is_that_over_all_other_images(study):
    groups = {"solid": [f"d{i % 3}" for i in range(N["solid"])], "emoji": ["d1"] * N["emoji"]}
    summary = summed(study, image_groups=groups)

    def top1(arm, test, group):
        kept = np.array([name != group for name in groups[test]])
        right = [answers(study, arm, seed, test) == study[arm, seed, test].labels for seed in SEEDS]
        own = np.isin(study[arm, 0, test].labels, ONLY.get(test, range(6)))
        return np.mean(np.array(right)[:, kept & own], axis=1).mean() * 100 if kept.any() else None

    for arm in ("generated", "mixed"):
        gains = {}
        for group in ("d0", "d1", "d2"):
            tests = [test for test in SHIFTS if top1(arm, test, group) is not None]
            gains[group] = np.mean([top1(arm, test, group) - top1("real", test, group) for test in tests])
        extremes = [min(gains, key=gains.get), max(gains, key=gains.get)]
        assert summary.without_group[arm] == pytest.approx({group: gains[group] for group in extremes})
    assert "real" not in summary.without_group and summed(study).without_group == {}


def test_only_sets_of_few_groups_have_the_accuracies_of_these(study):
    groups = {"solid": [f"d{i % 3}" for i in range(N["solid"])], "emoji": [f"d{i % 9}" for i in range(N["emoji"])]}
    summary = summed(study, image_groups=groups)
    assert list(summary.by_group) == ["solid"]
    for arm, top1 in summary.by_group["solid"].items():
        right = np.mean([answers(study, arm, s, "solid") == study[arm, s, "solid"].labels for s in SEEDS], axis=0)
        assert top1 == pytest.approx([100 * right[i::3].mean() for i in range(3)])


def test_missed_images_are_wrong_everywhere_and_their_answer_is_the_most_frequent(study):
    summary = summed(study)
    for test in N:
        said = np.stack([answers(study, arm, seed, test) for arm in LEVELS for seed in SEEDS])
        wrong = (said != study["real", 0, test].labels).all(axis=0)
        assert summary.missed_counts[test] == wrong.sum() > 0
        counts = np.bincount(study["real", 0, test].labels)
        assert summary.commonest[test] == pytest.approx(100 * counts.max() / counts.sum())
        shown = [missed for missed in summary.missed if missed.test_set == test]
        assert len(shown) == min(MISSED_OF_SET, wrong.sum())
        assert [missed.share for missed in shown] == sorted((missed.share for missed in shown), reverse=True)
        for missed in shown:
            images = study["real", 0, test]
            assert (missed.key, missed.label) == (images.keys[missed.index], images.labels[missed.index])
            assert wrong[missed.index] and missed.said != missed.label
            assert missed.share == pytest.approx((said[:, missed.index] == missed.said).mean())


def test_mistakes_of_a_classifier_are_its_most_confident_ones_among_the_classes_of_the_set(study):
    predictions = study["real", 0, "emoji"]
    own = np.array(ONLY["emoji"])
    exponentials = np.exp(predictions.logits[:, own].astype(np.float64))
    confidence = (exponentials / exponentials.sum(axis=1, keepdims=True)).max(axis=1)
    said = answers(study, "real", 0, "emoji")
    wrong = np.flatnonzero(said != predictions.labels).tolist()
    mistakes = confident_mistakes(predictions, 5)
    assert [mistake.index for mistake in mistakes] == sorted(wrong, key=lambda index: -confidence[index])[:5]
    for mistake in mistakes:
        index = mistake.index
        expected = (predictions.keys[index], predictions.labels[index], said[index])
        assert (mistake.key, mistake.label, mistake.said) == expected
        assert mistake.share == pytest.approx(confidence[index], rel=1e-5)
    assert len(confident_mistakes(predictions, 10_000)) == len(wrong) > 5


def test_any_two_arms_are_compared_on_each_set_and_a_pair_is_there_once(study):
    summary = summed(study)
    pairs = [(key.arm, key.minus) for key in summary.scores if key.metric == "top1" and key.minus]
    for arm, other in combinations(LEVELS, 2):
        for test in (*N, MEAN_OF_SHIFTS):
            one, turned = (summary.difference("top1", *two, test) for two in ((arm, other), (other, arm)))
            gap = summary.score("top1", arm, test).value - summary.score("top1", other, test).value
            assert one.value == pytest.approx(gap) == pytest.approx(-turned.value)
            assert (one.lo, one.hi) == (-turned.hi, -turned.lo) and one.lo <= one.value <= one.hi
            assert one.p == turned.p
        assert not {(arm, other), (other, arm)} <= set(pairs)
    assert {key.minus for key in summary.scores if key.metric == "nll" and key.minus} == {"real"}


def test_of_many_arms_any_two_are_compared_on_the_mean_alone(drawn_study):
    arms = {f"arm {i}": dict.fromkeys(N, 0.5) for i in range(COMPARED_ON_EACH)} | {"real": dict.fromkeys(N, 0.5)}
    summary = summed(drawn_study(arms, (0,), N, ONLY))
    assert summary.difference("top1", "arm 1", "arm 2") is not None
    assert summary.difference("top1", "arm 1", "arm 2", "solid") is None
    assert summary.difference("top1", "arm 1", "real", "solid") is not None
