"""A whole study summed up: every metric agrees with the small functions, and studies with gaps are refused."""

import weakref
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit
from test_accuracy import top1

from genrobust.core import MEAN_OF_SHIFTS, BaselineModel, Predictions, UserError
from genrobust.robustness import Comparison, effective_robustness, fit_line, score_baselines, summarize

SHIFTS = ("solid", "emoji", "pixel")
ONLY = {"emoji": [1, 3, 4]}  # a class-subset shift
N = {"test": 400, "solid": 300, "emoji": 200, "pixel": 40}
ACCURACY = {
    "real": {"test": 0.8, "solid": 0.6, "emoji": 0.3, "pixel": 0.5},
    "real+generated": {"test": 0.8, "solid": 0.7, "emoji": 0.5, "pixel": 0.6},
}
BASELINES = tuple(
    BaselineModel(f"m{i}", shift, 44 + 5.5 * i, 20 + 6 * i + (i * 7 % 3))
    for shift in ("solid", "emoji")
    for i in range(10)
)


@pytest.fixture
def study(drawn_study):
    return drawn_study(ACCURACY, (0, 1, 2), N, ONLY)


def summed(study, baselines=BASELINES, shifts=SHIFTS, reference="real", bootstrap=50, **comparison):
    return summarize(study, Comparison("test", shifts, reference, bootstrap=bootstrap, **comparison), baselines)


@pytest.fixture
def summary(study):
    return summed(study, bootstrap=300)


def test_scores_agree_with_the_small_functions(study, summary):
    assert (summary.arms, summary.seeds, summary.clean) == (("real", "real+generated"), (0, 1, 2), "test")
    ours = summary.score("top1", "real", "emoji", 2)
    assert ours == top1(study["real", 2, "emoji"], ONLY["emoji"])
    assert summary.paired == {"test": "test", "solid": "test", "emoji": "test on the classes of emoji", "pixel": "test"}
    clean = summary.score("top1", "real", summary.paired["emoji"], 2)
    assert clean == top1(study["real", 2, "test"], ONLY["emoji"]) and clean.n < N["test"]
    rows = [b for b in BASELINES if b.test_set == "emoji"]
    line = fit_line([b.clean for b in rows], [b.shifted for b in rows], "emoji")
    assert summary.lines["emoji"] == line
    er = summary.score("er", "real", "emoji", 2)
    assert er.value == pytest.approx(float(effective_robustness(line, clean.value, ours.value)))
    assert er.lo < er.value < er.hi
    assert summary.find("er", "real", "test") is None


def test_a_small_shift_is_scored_and_left_out_of_the_means(summary):
    assert summary.shifts == ("solid", "emoji")
    assert summary.left_out == {"pixel": "40 images, fewer than 150"}
    assert summary.score("top1", "real", "pixel", 0).n == 40
    for metric in ("top1", "er", "ece", "nll"):
        by_hand = np.mean([summary.score(metric, "real", test).value for test in ("solid", "emoji")])
        assert summary.score(metric, "real").value == pytest.approx(by_hand)
    assert summary.score("top1", "real").n == 500


def test_a_shift_of_one_class_is_left_out_of_the_means(drawn_study):
    """Over its own class alone, every answer is right."""
    study = drawn_study(ACCURACY, (0, 1), N | {"pixel": 300}, ONLY | {"pixel": [2]})
    summary = summed(study)
    assert summary.score("top1", "real", "pixel").value == 100
    assert list(summary.left_out) == ["pixel"] and "one class" in summary.left_out["pixel"]


def test_a_metric_that_a_shift_lacks_is_averaged_over_the_others(study):
    summary = summed(study, [b for b in BASELINES if b.test_set == "solid"])
    assert summary.find("er", "real", "emoji", 0) is summary.find("er", "real", "emoji") is None
    assert summary.score("er", "real").value == pytest.approx(summary.score("er", "real", "solid").value)
    for metric in ("er", "top5"):  # emoji has three classes
        assert summary.score(metric, "real").method.startswith("mean of 1 of 2 shifts; ")
    bare = summed(study, ())
    assert bare.lines == {} and not any(key.metric == "er" for key in bare.scores)
    assert bare.score("top1", "real").value == summary.score("top1", "real").value


def test_means_over_seeds_and_differences_are_those_of_the_checkpoints(summary):
    of_arms = [key for key in summary.scores if key.seed is None and not key.minus and key.test_set != MEAN_OF_SHIFTS]
    assert {key.metric for key in of_arms} >= {"top1", "er", "top5", "macro_f1", "ece", "nll"}
    for key in of_arms:
        each = [summary.scores[key._replace(seed=seed)].value for seed in summary.seeds]
        assert summary.scores[key].value == pytest.approx(np.mean(each))
    gains = [key for key in summary.scores if key.minus]
    assert {(key.arm, key.minus) for key in gains} == {("real+generated", "real")}
    for key in gains:
        ours, theirs = (summary.scores[key._replace(arm=arm, minus="")] for arm in (key.arm, key.minus))
        assert summary.scores[key].value == pytest.approx(ours.value - theirs.value)
        assert summary.scores[key].lo < summary.scores[key].value < summary.scores[key].hi or ours.hi == 100
    gained = summary.score("top1", "real+generated", "solid", minus="real")
    assert gained.method == "bootstrap 95 % over images and 3 seeds"


def test_one_seed_says_so_everywhere_and_proportions_are_exact(study):
    summary = summed({key: found for key, found in study.items() if key[1] == 0})
    assert all("one seed" in score.method for key, score in summary.scores.items() if key.seed is None)
    for metric in ("top1", "top5"):
        exact, ours = (summary.score(metric, "real", "solid", seed) for seed in (0, None))
        assert (ours.lo, ours.hi) == (exact.lo, exact.hi) and "Clopper-Pearson" in ours.method


def test_the_mean_of_one_shift_is_that_shift_with_its_interval(study):
    for seeds, of in (((0,), "Clopper-Pearson"), ((0, 1, 2), "bootstrap")):
        summary = summed({key: found for key, found in study.items() if key[1] in seeds}, shifts=("solid", "pixel"))
        assert summary.shifts == ("solid",)
        for key, score in summary.scores.items():
            if key.test_set == MEAN_OF_SHIFTS:
                alone = summary.scores[key._replace(test_set="solid")]
                assert replace(score, method="") == replace(alone, method="")
        assert summary.score("top1", "real").method.startswith(f"mean of 1 shift; {of}")


def test_the_summary_is_the_same_every_time_and_in_any_order_of_seeds(study, summary):
    backwards = dict(sorted(study.items(), key=lambda item: (list(ACCURACY).index(item[0][0]), -item[0][1])))
    assert summed(backwards, bootstrap=300) == summary


def test_all_shifts_too_small_leaves_no_mean_and_no_crash(study):
    summary = summed(study, min_images=1000)
    assert summary.shifts == () and set(summary.left_out) == set(SHIFTS)
    assert not any(key.test_set == MEAN_OF_SHIFTS for key in summary.scores)


def test_the_models_of_a_grid_become_baselines(study, summary):
    rows = score_baselines(study, "test", SHIFTS)
    assert [(row.model, row.test_set) for row in rows] == [(arm, shift) for arm in ACCURACY for shift in SHIFTS]
    for row in rows:
        assert row.shifted == pytest.approx(summary.score("top1", row.model, row.test_set).value)
        assert row.clean == pytest.approx(summary.score("top1", row.model, summary.paired[row.test_set]).value)


KEY = ("real+generated", 1, "solid")


def test_studies_with_gaps_are_refused(study):
    with pytest.raises(UserError, match="'real', seed 1, test set 'emoji'"):
        summed({k: v for k, v in study.items() if k != ("real", 1, "emoji")})
    with pytest.raises(UserError, match=r"'reel' .*real, real"):
        summed(study, reference="reel")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: replace(p, keys=p.keys[::-1]), "images of the other checkpoints"),
        (lambda p: replace(p, labels=(p.labels + 1) % 6), "images of the other checkpoints"),
        (lambda p: replace(p, protocol="96 px, flips averaged"), "prepared as '96 px, flips averaged'"),
        (lambda p: replace(p, test_set="emoji"), "predictions on 'emoji'"),
        (
            lambda p: replace(p, logits=p.logits[:9], labels=p.labels[:9], keys=p.keys[:9]),
            "images of the other checkpoints",
        ),
        (lambda p: replace(p, classes=tuple("abcdee")), "prepared as .* over 6 classes"),
    ],
)
def test_checkpoints_scored_on_something_else_are_refused(study, change, message):
    with pytest.raises(UserError, match=message):
        summed({**study, KEY: change(study[KEY])})


def test_a_shift_over_classes_that_the_clean_set_lacks_is_refused(drawn_study):
    study = drawn_study(ACCURACY, (0,), N, {"emoji": [5], "test": [0, 1, 2]})
    with pytest.raises(UserError, match=r"'test' .*'emoji'"):
        summed(study, ())


def test_further_pairs_are_differences_of_their_own(study):
    summary = summed(study, pairs=[("real", "real+generated"), ("real+generated", "real")])
    gains = {key: score for key, score in summary.scores.items() if key.minus}
    assert len(gains) == 2 * len([key for key in gains if key.minus == "real"])
    for key, score in gains.items():
        other = gains[key._replace(arm=key.minus, minus=key.arm)]
        assert (score.value, score.lo, score.hi) == pytest.approx((-other.value, -other.hi, -other.lo))
    with pytest.raises(UserError, match="'absent' is no arm"):
        summed(study, pairs=[("real", "absent")])
    with pytest.raises(UserError, match="group 'real' is called like an arm"):
        summed(study, groups={"real": ["real", "real+generated"]})


def test_predictions_are_asked_for_one_at_a_time_and_their_logits_read_once(study):
    """As from a disk: what was asked for and is no longer used must be gone."""
    given, most, read = [], [], Counter()

    class Lazy(Mapping):
        def __getitem__(self, key):
            logits = np.array(study[key].logits).view(Watched)
            logits.key = key
            given.append(weakref.ref(logits))
            most.append(sum(ref() is not None for ref in given))
            return replace(study[key], logits=logits)

        def __contains__(self, key):
            return key in study

        def __iter__(self):
            return iter(study)

        def __len__(self):
            return len(study)

    class Watched(np.ndarray):
        key = None

        def __getitem__(self, index):
            if isinstance(index, slice) and index.start == 0 and self.key:
                read[self.key] += 1
            return np.asarray(super().__getitem__(index))

    assert summed(Lazy()) == summed(study)
    assert max(most) <= 2  # the one before goes when the next is there
    assert read == dict.fromkeys(study, 1)


def test_a_perfect_clean_accuracy_of_few_images_is_not_taken_for_an_endless_one(drawn_study):
    study = drawn_study({"real": {"test": 2.0, "solid": 0.6}}, (0,), {"test": 40, "solid": 300}, {})
    found = summed(study, shifts=("solid",))
    line = found.lines["solid"]
    assert found.score("top1", "real", "test", 0).value == 100
    expected = 100 * expit(line.intercept + line.slope * logit(39.5 / 40))
    er = found.score("er", "real", "solid", 0)
    assert er.value == pytest.approx(found.score("top1", "real", "solid", 0).value - expected)
    assert expected < 99


def test_an_arm_that_extrapolates_a_line_has_no_mean_of_effective_robustness(study):
    low = [replace(b, clean=b.clean / 2) for b in BASELINES]  # up to 47 %, where both arms have 80
    summary = summed(study, low)
    assert summary.score("er", "real", "solid").extrapolated
    assert {key.test_set for key in summary.scores if key.metric == "er"} == {"solid", "emoji"}
    assert summary.find("top1", "real") is not None


def test_a_line_that_explains_less_than_half_enters_no_mean(study, summary):
    noisy = [replace(b, shifted=b.shifted * (0.2 if i % 2 else 1)) for i, b in enumerate(BASELINES)]
    rows = [n if b.test_set == "emoji" else b for b, n in zip(BASELINES, noisy, strict=True)]
    found = summed(study, rows, bootstrap=300)
    assert found.lines["emoji"].r2 < 0.5 < found.lines["solid"].r2
    assert found.score("er", "real").value == pytest.approx(found.score("er", "real", "solid").value)
    assert found.score("er", "real").method.startswith("mean of 1 of 2 shifts")
    assert summary.score("er", "real").method.startswith("mean of 2 shifts")


def test_scatter_about_the_line_widens_an_arm_and_hardly_a_difference(study):
    near, far = (
        summed(study, [replace(b, shifted=b.shifted + by * (i * 7 % 5 - 2)) for i, b in enumerate(BASELINES)])
        for by in (0, 3)
    )

    def width(summary, minus=""):
        score = summary.score("er", "real+generated", "solid", minus=minus)
        return score.hi - score.lo

    assert width(far) > 1.25 * width(near)
    assert width(far, "real") < 1.3 * width(near, "real")


def test_a_p_value_is_small_where_the_interval_excludes_zero(study, summary):
    for key, score in summary.scores.items():
        assert (score.p is None) == (key.minus == "")
        if score.p is not None and abs(score.p - 0.05) > 0.03:
            assert (score.p < 0.05) == (score.lo > 0 or score.hi < 0)
    groups = {"one": ["real"], "other": ["real+generated"]}
    found = summed(study, groups=groups, references={"real+generated": "real"})
    assert found.score("top1", "other", minus="one").p == pytest.approx(
        found.score("top1", "real+generated", minus="real").p
    )


def test_baselines_of_few_architectures_say_less_than_as_many_of_different_ones(study):
    """Every other model lies above the line, as if all of its architecture did."""
    rows = [replace(b, shifted=b.shifted + 12 * (int(b.model[1:]) % 2)) for b in BASELINES]
    kinds = [replace(b, architecture=f"kind {int(b.model[1:]) % 2}") for b in rows]
    alone, clustered = (summed(study, found, bootstrap=2000) for found in (rows, kinds))
    for summary in (alone, clustered):
        assert summary.score("er", "real", "solid").value == alone.score("er", "real", "solid").value

    def width(summary):
        score = summary.score("er", "real", "solid")
        return score.hi - score.lo

    assert width(clustered) > width(alone)


def test_intervals_are_over_the_groups_of_images_where_these_are_known(study, summary):
    groups = {
        "solid": [f"hand {i % 3}" for i in range(N["solid"])],
        "test": [f"hand {i % 9}" for i in range(N["test"])],
    }
    found = summed(study, bootstrap=300, image_groups=groups)
    for test, count in {"solid": 3, "emoji": 0, "test": 9, "test on the classes of emoji": 9}.items():
        score = found.find("top1", "real", test) or found.score("top1", "real", test, 0)
        assert score.groups == count
        assert score.value == (summary.find("top1", "real", test) or summary.score("top1", "real", test, 0)).value
    assert found.score("top1", "real").groups == 3
    assert "over 3 groups and 3 seeds" in found.score("top1", "real", "solid").method
    assert "over 3 groups, baselines" in found.score("er", "real", "solid").method
    for names, message in ((["a"] * 7, "7 names for 300 images"), (["a", float("nan")] * 150, "image 1 is nan")):
        with pytest.raises(ValueError, match=rf"image_groups\['solid'\]: .*{message}"):
            summed(study, image_groups={"solid": names})
    with pytest.raises(ValueError, match="bootstrap: 1 "):
        summed(study, bootstrap=1)


def of_ten_classes(test, labels, accuracy, seed):
    """Predictions over ten classes; a wrong one is the other class of a pair."""
    wrong = np.random.default_rng(seed).random(len(labels)) >= accuracy
    logits = np.zeros((len(labels), 10), np.float32)
    logits[np.arange(len(labels)), labels ^ wrong] = 1
    keys = tuple(f"{test}{i}" for i in range(len(labels)))
    return Predictions(test, logits, labels, keys, tuple("abcdefghij"), "64 px")


def robustness_on_two_classes(clean_labels, groups=None, accuracy=0.6):
    """The effective robustness of one checkpoint on a shift of two of the ten classes."""
    shifted = np.repeat([0, 1], 5000)
    predictions = {
        ("real", 0, "test"): of_ten_classes("test", clean_labels, accuracy, 1),
        ("real", 0, "shift"): of_ten_classes("shift", shifted, 0.5, 2),
    }
    baselines = [BaselineModel(f"m{i}", "shift", 30 + 2 * i, 20 + 2 * i) for i in range(30)]
    groups = {} if groups is None else {"test": groups}
    how = Comparison(clean="test", shifts=("shift",), reference="real", image_groups=groups)
    return summarize(predictions, how, baselines).score("er", "real", "shift", 0)


def test_a_shift_of_classes_with_few_clean_images_still_has_an_interval():
    """Some resamples of the clean images have none of these classes."""
    few = robustness_on_two_classes(np.repeat(np.arange(10), 2))
    assert few.lo < few.value < few.hi and few.hi - few.lo > 20


def test_where_the_clean_images_of_a_shift_are_of_one_group_the_interval_is_over_images():
    labels = np.repeat(np.arange(10), 40)
    of_images = robustness_on_two_classes(labels)
    of_one = robustness_on_two_classes(labels, [f"designer {label // 2}" for label in labels])
    assert of_one.hi - of_one.lo == pytest.approx(of_images.hi - of_images.lo, rel=0.15)


def test_clean_images_that_are_all_right_are_uncertain_too():
    labels = np.repeat(np.arange(10), 40)
    sure = robustness_on_two_classes(labels, accuracy=1.0)
    assert sure.hi - sure.lo > 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shifts": ("solid", "solid")}, "each test set once"),
        ({"shifts": ("test", "solid")}, "each test set once"),
        ({"image_groups": {"sold": ["a"]}}, "no test set 'sold'"),
        ({"pictures": {"sold": ["a"]}}, "no test set 'sold'"),
        ({"published": {"sold": None}}, "no test set 'sold'"),
        ({"subsets": {"some": {"sold": [True]}}}, "no test set 'sold'"),
        ({"subsets": {"solid": {"solid": [True]}}}, "'solid' is the name of other scores"),
        ({"subsets": {"mean of shifts": {"solid": [True]}}}, "'mean of shifts' is the name of other"),
        ({"shifts": ("mean of shifts",)}, "'mean of shifts' is the name of other"),
    ],
)
def test_a_comparison_names_each_test_set_once_and_groups_of_no_other(change, message):
    with pytest.raises(ValueError, match=message):
        Comparison(**{"clean": "test", "shifts": ("solid", "emoji"), "reference": "real", **change})
