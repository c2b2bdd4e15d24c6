"""Top-1 accuracy: restricted logits, one-to-many labels, exact intervals, and predictions that do not fit."""

from dataclasses import replace
from operator import attrgetter

import numpy as np
import pytest
from scipy.stats import binomtest

from genrobust.core import GenrobustError, Predictions, Score, UserError
from genrobust.robustness import read_answers
from genrobust.robustness.accuracy import accuracy_score, clopper_pearson
from genrobust.robustness.answers import own_classes


def correct(predictions: Predictions, classes=None) -> np.ndarray:
    """Which images are right over `classes`, by default the set's own: bool [M]."""
    chosen = own_classes(predictions) if classes is None else np.array(classes)
    return read_answers(predictions, [(chosen, {"correct": attrgetter("correct")})])[0]["correct"]


def top1(predictions: Predictions, classes=None) -> Score:
    right = correct(predictions, classes)
    return accuracy_score(int(right.sum()), len(right), len(own_classes(predictions) if classes is None else classes))


@pytest.mark.parametrize(("k", "n"), [(0, 20), (1, 20), (7, 20), (20, 20), (761, 1000)])
def test_clopper_pearson_is_scipys_exact_interval(k, n):
    ours, scipys = clopper_pearson(k, n), binomtest(k, n).proportion_ci(method="exact")
    assert ours == pytest.approx((scipys.low, scipys.high), abs=1e-12)


def test_a_class_subset_set_is_scored_with_logits_restricted_to_its_classes(predictions_of):
    logits = np.array([[9, 1, 2, 0], [0, 3, 2, 8], [0, 1, 2, 0]], dtype=np.float32)
    found = predictions_of([0, 0, 0], [2, 1, 1], logits=logits)  # the set holds labels 1 and 2 of 4
    assert own_classes(found).tolist() == [1, 2]
    assert correct(found).tolist() == [True, True, False]
    assert correct(found, classes=range(4)).tolist() == [False, False, False]


def test_images_whose_label_is_outside_the_subset_are_left_out(predictions_of):
    found = predictions_of([0, 1, 2, 3], [0, 1, 1, 3])
    assert correct(found, classes=[1, 3]).tolist() == [True, True, True]  # the third guesses 2, which is not asked
    score = top1(found, classes=[1, 3])
    assert (score.value, score.n, score.classes) == (100, 3, 2)
    assert score.lo == pytest.approx(100 * 0.025 ** (1 / 3))


def test_any_accepted_label_counts_and_all_of_them_are_the_sets_own_classes(predictions_of):
    found = predictions_of([2, 3, 1], [1, 1, 0], accepted=((1, 2), (1, 2), (0,)))
    assert own_classes(found).tolist() == [0, 1, 2]
    assert correct(found, classes=range(4)).tolist() == [True, False, False]
    # Without class 3 the second image's other logits are level, so its guess is the first class, 0.
    assert correct(found).tolist() == [True, False, False]
    assert correct(found, classes=[2, 3]).tolist() == [True, False]  # the third image has no right label among them


def test_restricting_to_all_classes_changes_nothing(predictions_of):
    rng = np.random.default_rng(1)
    found = predictions_of([0] * 50, rng.integers(0, 4, 50), logits=rng.normal(size=(50, 4)).astype(np.float32))
    assert np.array_equal(correct(found), found.logits.argmax(axis=1) == found.labels)


@pytest.mark.parametrize("logits", [[0, 1, np.nan], [np.nan] * 3, [0, np.inf, 1], [-np.inf] * 3, [np.inf, -np.inf, 0]])
def test_logits_that_are_no_answer_are_refused_by_set_and_image(predictions_of, logits):
    found = predictions_of([0, 1], [0, 1], test_set="emoji")
    found.logits[1] = np.nan
    found.logits[1, :3] = logits
    found.logits[1, 3:] = min(logits)
    with pytest.raises(GenrobustError, match=r"'emoji'.*1 of 2 images, first 'emoji-1'"):
        top1(found)


def test_logarithms_of_rounded_probabilities_make_no_tie_among_the_sets_own_classes(predictions_of):
    logits = np.array([[0, -np.inf, -np.inf, -np.inf], [-1, -2, -2, -np.inf]])
    found = predictions_of([0, 1], [1, 1], logits=logits)
    assert correct(found, classes=range(4)).tolist() == [False, False]
    with pytest.raises(GenrobustError, match="1 of 2 images, first "):
        correct(found, classes=[1, 2])


@pytest.mark.parametrize("kind", ["int8", "uint64"])
def test_labels_may_be_whole_numbers_of_any_kind(predictions_of, kind):
    found = predictions_of([1, 2], [1, 2])
    assert correct(replace(found, labels=found.labels.astype(kind), keys=np.array(["a", "b"]))).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.array([0, 9])}, "labels run from 0 to 9"),
        ({"labels": np.array([0, 1, 1])}, "do not fit 3 labels"),
        ({"logits": np.empty((0, 4)), "labels": [], "keys": ()}, "there are no images"),
        ({"keys": ("a",)}, "1 keys for 2 images"),
        ({"classes": ("ant", "bee", "ant", "cat")}, "two classes are called 'ant'"),
        ({"accepted": ((0,),)}, "1 entries in accepted"),
    ],
)
def test_parts_that_do_not_fit_are_named(predictions_of, change, message):
    with pytest.raises(UserError, match=message):
        correct(replace(predictions_of([0, 1], [0, 1]), **change))
