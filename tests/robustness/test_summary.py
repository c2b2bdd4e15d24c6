"""A whole study summed up: every figure agrees with the small functions, and studies with gaps are refused."""

import weakref
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from genrobust.core.errors import UserError
from genrobust.core.results import MEAN_OF_SHIFTS, BaselineModel
from genrobust.robustness.accuracy import correct, top1
from genrobust.robustness.compare import paired_difference
from genrobust.robustness.effective import effective_robustness, fit_line
from genrobust.robustness.summary import summarize

SHIFTS = ("solid", "emoji", "pixel")
ONLY = {"emoji": [1, 3, 4]}  # a class-subset shift
N = {"test": 400, "solid": 300, "emoji": 200, "pixel": 40}
ACCURACY = {
    "real": {"test": 0.8, "solid": 0.6, "emoji": 0.3, "pixel": 0.5},
    "real+generated": {"test": 0.8, "solid": 0.7, "emoji": 0.5, "pixel": 0.6},
}
BASELINES = tuple(
    BaselineModel(f"m{i}", shift, 50 + 4 * i, 25 + 4 * i + (i * 7 % 3))
    for shift in ("solid", "emoji")
    for i in range(10)
)


@pytest.fixture
def study(drawn_study):
    return drawn_study(ACCURACY, (0, 1, 2), N, ONLY)


@pytest.fixture
def summary(study):
    return summarize(study, BASELINES, "test", SHIFTS, "real", bootstrap=300)


def cell_of(summary, arm, seed, test_set):
    return next(c for c in summary.cells if (c.arm, c.seed, c.test_set) == (arm, seed, test_set))


def difference_of(summary, test_set, figure):
    return next(d.score for d in summary.differences if (d.test_set, d.figure) == (test_set, figure))


def test_cells_agree_with_the_small_functions(study, summary):
    assert len(summary.cells) == 2 * 3 * 4
    assert (summary.arms, summary.seeds, summary.clean) == (("real", "real+generated"), (0, 1, 2), "test")
    cell = cell_of(summary, "real", 2, "emoji")
    assert cell.top1 == top1(study["real", 2, "emoji"], ONLY["emoji"])
    assert cell.top1_all == top1(study["real", 2, "emoji"], range(6))
    assert cell.clean == top1(study["real", 2, "test"], ONLY["emoji"])
    assert cell.clean.n < N["test"] and cell.top1_all.value <= cell.top1.value
    rows = [b for b in BASELINES if b.test_set == "emoji"]
    line = fit_line([b.clean for b in rows], [b.shifted for b in rows], "emoji")
    assert summary.lines["emoji"] == line
    assert cell.er.value == pytest.approx(float(effective_robustness(line, cell.clean.value, cell.top1.value)))
    assert cell.er.lo < cell.er.value < cell.er.hi
    clean = cell_of(summary, "real", 2, "test")
    assert clean.top1 == clean.clean and clean.er is None


def test_a_small_shift_is_scored_and_left_out_of_the_means(summary):
    assert summary.shifts == ("solid", "emoji")
    assert summary.left_out == {"pixel": "40 images, fewer than 150"}
    assert cell_of(summary, "real", 0, "pixel").top1.n == 40
    assert ("real", "pixel") in summary.arm_top1
    by_hand = [summary.arm_top1["real", s].value for s in ("solid", "emoji")]
    assert summary.mean_top1["real"].value == pytest.approx(np.mean(by_hand))
    assert summary.mean_top1["real"].n == 500


def test_a_shift_without_baselines_has_no_effective_robustness(study):
    rows = [b for b in BASELINES if b.test_set == "solid"]
    summary = summarize(study, rows, "test", SHIFTS, "real", bootstrap=100)
    assert cell_of(summary, "real", 0, "emoji").er is None
    assert ("real", "emoji") not in summary.arm_er
    assert summary.mean_er["real"].value == pytest.approx(summary.arm_er["real", "solid"].value)
    assert summary.mean_er["real"].method.startswith("mean of 1 of 2 shifts; ")
    bare = summarize(study, (), "test", SHIFTS, "real", bootstrap=100)
    assert (bare.lines, bare.arm_er, bare.mean_er) == ({}, {}, {})
    assert bare.mean_top1["real"].value == summary.mean_top1["real"].value


def test_means_over_seeds_and_differences_are_those_of_the_cells(study, summary):
    for arm in summary.arms:
        over_seeds = [cell_of(summary, arm, seed, "solid") for seed in summary.seeds]
        assert summary.arm_top1[arm, "solid"].value == pytest.approx(np.mean([c.top1.value for c in over_seeds]))
        assert summary.arm_er[arm, "solid"].value == pytest.approx(np.mean([c.er.value for c in over_seeds]))
    gained = difference_of(summary, "solid", "top1")
    by_arm = [np.array([correct(study[arm, s, "solid"]) for s in (0, 1, 2)]) for arm in ("real+generated", "real")]
    alone = paired_difference(*by_arm, classes=6, bootstrap=300)
    assert gained.value == pytest.approx(alone.value)
    assert (gained.lo, gained.hi) == pytest.approx((alone.lo, alone.hi), abs=1.5)  # other draws of the same bootstrap
    assert gained.method == alone.method == "bootstrap 95 % over images and 3 seeds"
    means = [difference_of(summary, s, "er").value for s in ("solid", "emoji")]
    assert difference_of(summary, MEAN_OF_SHIFTS, "er").value == pytest.approx(np.mean(means))
    assert {(d.arm, d.reference) for d in summary.differences} == {("real+generated", "real")}
    assert {d.test_set for d in summary.differences if d.figure == "top1"} == {"test", *SHIFTS, MEAN_OF_SHIFTS}


def test_one_seed_says_so_everywhere(study):
    one = {key: found for key, found in study.items() if key[1] == 0}
    summary = summarize(one, BASELINES, "test", SHIFTS, "real", bootstrap=100)
    scores = [*summary.arm_top1.values(), *summary.arm_er.values(), *summary.mean_top1.values()]
    scores += [*summary.mean_er.values(), *(d.score for d in summary.differences)]
    assert len(scores) > 20
    assert all("one seed" in score.method for score in scores)
    exact = cell_of(summary, "real", 0, "solid").top1
    assert (summary.arm_top1["real", "solid"].lo, summary.arm_top1["real", "solid"].hi) == (exact.lo, exact.hi)


def test_the_summary_is_the_same_every_time_and_in_any_order_of_seeds(study, summary):
    backwards = dict(sorted(study.items(), key=lambda item: (list(ACCURACY).index(item[0][0]), -item[0][1])))
    assert summarize(backwards, BASELINES, "test", SHIFTS, "real", bootstrap=300) == summary


def test_points_outside_the_fitted_range_are_told(study):
    narrow = [replace(b, clean=99 + i / 50) for i, b in enumerate(BASELINES)]
    summary = summarize(study, narrow, "test", SHIFTS, "real", bootstrap=100)
    assert all(c.extrapolated == (c.test_set in summary.lines) for c in summary.cells)


def test_all_shifts_too_small_leaves_no_mean_and_no_crash(study):
    summary = summarize(study, BASELINES, "test", SHIFTS, "real", min_images=1000, bootstrap=100)
    assert (summary.shifts, summary.mean_top1, summary.mean_er) == ((), {}, {})
    assert set(summary.left_out) == set(SHIFTS)


def test_studies_with_gaps_are_refused(study):
    gone = {k: v for k, v in study.items() if k != ("real", 1, "emoji")}
    with pytest.raises(UserError, match="no predictions for arm 'real', seed 1, test set 'emoji'"):
        summarize(gone, BASELINES, "test", SHIFTS, "real")
    with pytest.raises(UserError, match="'reel' is no arm with predictions; the arms are real, real"):
        summarize(study, BASELINES, "test", SHIFTS, "reel")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: replace(p, keys=p.keys[::-1]), "not the images of the other checkpoints"),
        (lambda p: replace(p, labels=(p.labels + 1) % 6), "not the images of the other checkpoints"),
        (lambda p: replace(p, protocol="96 px, flips averaged"), "prepared as '96 px, flips averaged'"),
    ],
)
def test_checkpoints_scored_on_something_else_are_refused(study, change, message):
    key = ("real+generated", 1, "solid")
    with pytest.raises(UserError, match=message):
        summarize({**study, key: change(study[key])}, BASELINES, "test", SHIFTS, "real")


def test_a_shift_over_classes_that_the_clean_set_lacks_is_refused(drawn_study):
    study = drawn_study(ACCURACY, (0,), N, {"emoji": [5], "test": [0, 1, 2]})
    with pytest.raises(UserError, match="no image of the clean set 'test' has a class of 'emoji'"):
        summarize(study, (), "test", SHIFTS, "real")


def test_further_pairs_are_differences_of_their_own(study):
    summary = summarize(study, BASELINES, "test", SHIFTS, "real", bootstrap=50, pairs=[("real", "real+generated")])
    mine = [d for d in summary.differences if d.reference == "real+generated"]
    plain = [d for d in summary.differences if d.reference == "real"]
    assert {d.arm for d in mine} == {"real"} and len(mine) == len(plain)
    for ours, theirs in zip(mine, plain, strict=True):
        assert (ours.test_set, ours.figure) == (theirs.test_set, theirs.figure)
        assert ours.score.value == pytest.approx(-theirs.score.value)
        assert (ours.score.lo, ours.score.hi) == pytest.approx((-theirs.score.hi, -theirs.score.lo))
    twice = summarize(study, BASELINES, "test", SHIFTS, "real", bootstrap=50, pairs=[("real+generated", "real")])
    assert len(twice.differences) == len(plain)
    with pytest.raises(UserError, match="'absent': no arm"):
        summarize(study, BASELINES, "test", SHIFTS, "real", bootstrap=50, pairs=[("real", "absent")])


def test_a_second_id_set_is_no_shift_and_the_others_are_held_against_both(study, summary):
    """BASELINES of both sets are nearly in proportion, so those of emoji are moved about."""
    moved = [replace(b, shifted=b.shifted + (b.model in ("m2", "m5", "m9")) * 9) for b in BASELINES]
    rows = [b if b.test_set == "solid" else m for b, m in zip(BASELINES, moved, strict=True)]
    found = summarize(study, rows, "test", SHIFTS, "real", bootstrap=300, second_id="emoji")
    assert (found.shifts, set(found.left_out)) == (("solid",), {"emoji", "pixel"})
    assert found.arm_er["real", "solid"] == summary.arm_er["real", "solid"]  # the usual figure stays what it was
    multi = found.multi_id
    assert multi is not None and (multi.second, list(multi.planes)) == ("emoji", ["solid"])
    solid, emoji = ([b for b in rows if b.test_set == shift] for shift in ("solid", "emoji"))
    x = logit(np.array([[a.clean, b.shifted] for a, b in zip(solid, emoji, strict=True)]) / 100)
    y = logit(np.array([b.shifted for b in solid]) / 100)
    fit = np.linalg.lstsq(np.column_stack([np.ones(10), x]), y, rcond=None)[0]
    for arm in found.arms:
        beyond = []
        for seed in found.seeds:
            on = {test: top1(study[arm, seed, test]).value for test in ("test", "solid", "emoji")}
            at = logit(np.array([on["test"], on["emoji"]]) / 100)
            beyond.append(on["solid"] - 100 * expit(fit[0] + at @ fit[1:]))
        score = multi.arm_er[arm, "solid"]
        assert score.value == pytest.approx(np.mean(beyond), abs=1e-9)
        assert score.lo < score.value < score.hi
        assert "images, baselines and 3 seeds" in score.method
        assert multi.mean_er[arm].value == pytest.approx(score.value)
    assert {d.test_set for d in found.differences if d.figure == "multi_er"} == {"solid", MEAN_OF_SHIFTS}
    assert difference_of(found, "solid", "multi_er").value == pytest.approx(
        multi.arm_er["real+generated", "solid"].value - multi.arm_er["real", "solid"].value
    )


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

    assert summarize(Lazy(), BASELINES, "test", SHIFTS, "real", bootstrap=20) == summarize(
        study, BASELINES, "test", SHIFTS, "real", bootstrap=20
    )
    assert max(most) <= 2  # the one before goes when the next is there
    assert read == dict.fromkeys(study, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: replace(p, test_set="emoji"), "predictions on 'emoji'; were two files swapped"),
        (lambda p: replace(p, logits=p.logits[:9], labels=p.labels[:9], keys=p.keys[:9]), "9 images, where another"),
        (lambda p: replace(p, classes=tuple("abcdee")), "prepared as .* over 6 classes"),
    ],
)
def test_swapped_short_and_foreign_predictions_are_named(study, change, message):
    key = ("real+generated", 1, "solid")
    with pytest.raises(UserError, match=message):
        summarize({**study, key: change(study[key])}, BASELINES, "test", SHIFTS, "real")


def test_sets_over_different_classes_are_refused(study):
    other = {key: replace(p, classes=tuple("abcdef")) if key[2] == "solid" else p for key, p in study.items()}
    with pytest.raises(UserError, match="'solid' and 'test' are predicted over different classes"):
        summarize(other, BASELINES, "test", SHIFTS, "real")


def test_a_perfect_clean_accuracy_of_few_images_is_not_taken_for_an_endless_one(drawn_study):
    study = drawn_study({"real": {"test": 2.0, "solid": 0.6}}, (0,), {"test": 40, "solid": 300}, {})
    found = summarize(study, BASELINES, "test", ("solid",), "real", bootstrap=100)
    cell = cell_of(found, "real", 0, "solid")
    line = found.lines["solid"]
    assert cell.clean.value == 100
    expected = 100 * expit(line.intercept + line.slope * logit(39.5 / 40))
    assert cell.er.value == pytest.approx(cell.top1.value - expected)
    assert expected < 99
