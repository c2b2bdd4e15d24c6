"""Numbers in words and the answer: what was gained, how surely, and what one seed does not say."""
# ruff: noqa: RUF001 - the report writes true minus signs and en dashes

from dataclasses import replace

import pytest

from genrobust.core.results import MEAN_OF_SHIFTS, Score
from genrobust.report.markdown import markdown
from genrobust.report.wording import answer, caveat, count, duration, limits, number, span


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [(57.64, False, "57.6"), (-0.31, False, "−0.3"), (12.5, True, "+12.5"), (-0.04, True, "0.0"), (0.0, True, "0.0")],
)
def test_numbers_have_one_decimal_and_a_true_minus(value, signed, text):
    assert number(value, signed) == text


def test_spans_durations_and_counts():
    score = Score(1.0, -0.6, 1.3, 10, 2, "")
    assert (span(score), span(score, signed=True)) == ("−0.6–1.3", "−0.6 to +1.3")
    assert [duration(s) for s in (0.42, 42, 192, 3905)] == ["0.4 s", "42 s", "3 min 12 s", "1 h 05 min"]
    assert [count(1, "seed"), count(1300, "image"), count(2, "class")] == ["1 seed", "1,300 images", "2 classes"]
    assert (span(score, digits=3), number(0.0004, True, 3)) == ("−0.600–1.300", "0.000")


def test_the_answer_is_two_sentences_about_the_generated_arm_with_the_retrieved_one_beside_it(record):
    accuracy, robustness = answer(record)
    assert accuracy == (
        "Over 2 shifted test sets, real+generated averaged 52.5 % top-1 and real 40.0 %, a gain of 12.5 points "
        "(95 % interval +10.5 to +14.5); on the clean set real+generated did not differ from real beyond chance "
        "(−0.4 points, 95 % interval −2.4 to +1.6)."
    )
    assert robustness == (
        "Its effective robustness was +10.5 points and that of real −0.5, a gain of 11.0 points (95 % interval +9.0 to "
        "+13.0); real+retrieved, the control with retrieved images, was 30.0 points above real (95 % interval +28.0 to "
        "+32.0) over the shifts."
    )


@pytest.mark.parametrize(
    ("parts", "is_control"),
    [
        ({"retrieved": 10}, True),
        ({"real": 10, "retrieved-by-search": 10}, True),
        ({"real": 10, "retrieved-by-class": 10}, False),
        ({"real": 10, "retrieved": 10, "generated": 10}, False),
    ],
)
def test_a_control_has_retrieved_images_and_no_generated_ones(record, parts, is_control):
    *arms, last = record.arms
    generated = record.arms[1]
    shown = answer(replace(record, arms=(*arms[:1], generated, replace(last, parts=parts))))
    assert ("real+retrieved, the control with retrieved images" in shown[1]) == is_control


def test_further_folders_of_images_are_not_taken_for_generated_ones(record):
    *arms, last = record.arms  # with the highest mean
    changed = replace(record, arms=(*arms, replace(last, parts={"real": 1800, "deepaugment": 4987})))
    assert "real+retrieved averaged" in answer(changed)[0]
    told = replace(changed, not_generated=(*record.not_generated, "deepaugment"))
    assert "real+generated averaged" in answer(told)[0]


def test_a_difference_that_may_be_chance_is_called_no_gain_and_a_loss_a_loss(record):
    def with_gain(value: float, half: float):
        gained = Score(value, value - half, value + half, 9, 6, "")
        gains = [key for key in record.summary.scores if key.minus and key.test_set == MEAN_OF_SHIFTS]
        changed = record.summary.scores | dict.fromkeys(gains, gained)
        return answer(replace(record, summary=replace(record.summary, scores=changed)))[0]

    assert "a difference of +1.0 points that may be chance (95 % interval −1.0 to +3.0)" in with_gain(1, 2)
    assert "a loss of 4.0 points (95 % interval −6.0 to −2.0)" in with_gain(-4, 2)


def test_one_seed_claims_nothing_and_two_say_that_they_are_few(summary):
    assert "claims nothing general" in caveat(replace(summary, seeds=(0,)))
    assert "three or more are better" in caveat(replace(summary, seeds=(0, 1)))
    assert caveat(summary) == "Intervals are 95 %, over images and 3 seeds."


def test_the_limits_name_subsets_left_out_sets_and_unequal_steps(record):
    text = " ".join(limits(record))
    assert "(emoji) are scored with logits restricted to their classes" in text
    assert "pixel is scored but left out of every mean: 40 images, fewer than 150." in text
    assert "Every arm trained for the same 600 steps." in text
    assert "prepared alike. 64 px: centre crop." in text
    assert "emoji differs. 64 px: centre crop; first label alone." in text
    assert "Top-5 accuracy is not shown on emoji: over 3 classes it is always 100 %." in text
    assert "Negative log-likelihood is minus the log" in text and "Calibration error is" not in text  # not measured
    assert limits(record)[-1] == "The generator saw no test image."
    longer = replace(record, arms=(replace(record.arms[0], steps=900), *record.arms[1:]))
    assert "different numbers of steps" in " ".join(limits(longer))


def test_a_study_of_one_arm_or_without_a_mean_or_lines_still_has_an_answer(record):
    summary = record.summary
    alone = replace(summary, arms=("real",))
    assert answer(replace(record, summary=alone)) == (
        "The study has one arm, real, so nothing is compared. Over 2 shifted test sets it averaged 40.0 % top-1 "
        "(38.0–42.0).",
    )
    no_lines = replace(summary, lines={}, scores={k: s for k, s in summary.scores.items() if k.figure == "top1"})
    assert answer(replace(record, summary=no_lines))[1].startswith("Effective robustness has no baseline line")
    of_sets = {k: s for k, s in summary.scores.items() if k.test_set != MEAN_OF_SHIFTS}
    no_mean = replace(summary, shifts=(), scores=of_sets)
    assert answer(replace(record, summary=no_mean))[0].startswith("No shifted test set is large enough")


def test_groups_of_images_are_counted_beside_the_images_and_said_how_to_read(record):
    def grouped(key, score):
        return replace(score, groups={"solid": 9, "emoji": 3}.get(key.test_set, 0))

    scores = {key: grouped(key, score) for key, score in record.summary.scores.items()}
    found = replace(record, summary=replace(record.summary, scores=scores))
    words = " ".join(limits(found))
    assert "9 groups in solid, 3 groups in emoji" in words
    assert "All images of test, pixel are of one group" in words
    assert "over groups of images and 3 seeds" in words
    assert "300 images, 9 groups, 6 classes" in markdown(found)
    assert "groups of images" not in " ".join(limits(record))


def test_an_arm_without_a_mean_of_effective_robustness_leaves_its_place_empty(record, shown):
    gone = {key for key in record.summary.scores if key.figure == "er" and key.test_set == MEAN_OF_SHIFTS}
    gone -= {key for key in gone if key.arm == "real+retrieved"}
    scores = {key: score for key, score in record.summary.scores.items() if key not in gone}
    found = replace(record.summary, scores=scores)
    row = next(line for line in shown(found, 120).splitlines() if "Effective robustness" in line)
    assert row.count("–") == 2 and "+27.0" in row
    assert "no mean, since some figures in it extrapolate" in " ".join(answer(replace(record, summary=found)))
