"""The answer: what was gained and how surely, about an arm that no test set has chosen."""
# ruff: noqa: RUF001 - the report writes true minus signs and en dashes

from dataclasses import replace

import pytest

from genrobust.core.results import MEAN_OF_SHIFTS, Score
from genrobust.report.answering import answer


def test_the_answer_is_about_the_generated_arm_with_the_retrieved_one_beside_it(record):
    accuracy, robustness, control = answer(record)
    assert accuracy == (
        "Over 2 shifted test sets, real+generated averaged 52.5 % top-1 and real 40.0 %, a gain of 12.5 points "
        "(95 % interval +10.5 to +14.5); on the clean set real+generated did not differ from real beyond chance "
        "(−0.4 points, 95 % interval −2.4 to +1.6)."
    )
    assert control == (
        "In top-1 over the shifts, real+retrieved, the control with retrieved images, was 30.0 points above real (95 % "
        "interval +28.0 to +32.0)."
    )
    assert robustness == (
        "Its effective robustness was +10.5 points and that of real −0.5, a gain of 11.0 points (95 % interval +9.0 to "
        "+13.0)."
    )


def test_the_answer_says_where_effective_robustness_is_over_fewer_shifts(record):
    lines = record.summary.lines
    weak = replace(record.summary, lines={**lines, "solid": replace(lines["solid"], r2=0.4)})
    told = answer(replace(record, summary=weak))[1]
    assert told.startswith("Its effective robustness, over 1 of the 2 shifts, was +10.5 points and that of real −0.5")


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
    real, generated, last = record.arms
    shown = answer(replace(record, arms=(real, generated, replace(last, parts=parts))))
    assert ("real+retrieved, the control with retrieved images" in " ".join(shown)) == is_control


def test_further_folders_of_images_are_not_taken_for_generated_ones(record):
    *arms, last = record.arms
    images = {"real": 1800, "deepaugment": 4987}
    changed = replace(record, arms=(*arms, replace(last, parts=images, val_top1=95.0)))
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
    told = answer(replace(record, summary=no_mean))
    assert told[0].startswith("No shifted test set is large enough")
    assert told[1] == "Effective robustness has no mean either."


def test_without_a_mean_of_effective_robustness_the_answer_says_why(record):
    gone = {key for key in record.summary.scores if key.figure == "er" and key.test_set == MEAN_OF_SHIFTS}
    scores = {key: score for key, score in record.summary.scores.items() if key not in gone}
    found = replace(record, summary=replace(record.summary, scores=scores))
    assert "Its effective robustness has no mean, since some figures in it extrapolate" in answer(found)[1]
    lines = {test: replace(line, r2=0.4) for test, line in record.summary.lines.items()}
    weak = replace(found, summary=replace(found.summary, lines=lines))
    assert "no mean, since no line of a shift in it explains enough" in answer(weak)[1]
    kept = {key for key in gone if key.arm == "real+generated" and not key.minus}
    alone = replace(record.summary, scores=scores | {key: record.summary.scores[key] for key in kept})
    assert "was +10.5 points; that of real has no mean, since some" in answer(replace(record, summary=alone))[1]


def test_an_arm_without_validation_accuracy_is_not_chosen_by_it(record):
    real, generated, other = record.arms
    arms = (real, replace(generated, val_top1=None), replace(other, val_top1=0.0, parts={"generated": 10}))
    assert answer(replace(record, arms=arms))[0].startswith("Over 2 shifted test sets, real+retrieved averaged")
    assert "Of 1 arm, the validation images chose real+retrieved" in answer(replace(record, arms=arms))[2]


def of_two(record, *val_top1):
    """The record with a second generated arm, whose mean over the shifts is the higher one."""
    real, generated, _ = record.arms
    second = replace(generated, name="real+retrieved")
    arms = [replace(arm, val_top1=top1) for arm, top1 in zip((generated, second), val_top1, strict=True)]
    return replace(record, arms=(real, *arms))


def test_of_several_arms_validation_chooses_and_no_test_set(record):
    for val_top1, chosen in (((91.0, 90.0), "real+generated"), ((90.0, 91.0), "real+retrieved")):
        told = answer(of_two(record, *val_top1))
        assert f"{chosen} averaged" in told[0]
        assert told[-1] == (
            f"Of 2 arms, the validation images chose {chosen} (91.0 % of them right); no test set was used."
        )
    told = answer(of_two(record, None, None))
    assert "real+generated averaged" in told[0] and "because the recipe lists it first" in told[-1]


def test_an_arm_that_the_recipe_names_is_the_answer_and_called_so(record):
    told = answer(replace(of_two(record, 91.0, 90.0), answer="real+retrieved"))
    assert "real+retrieved averaged" in told[0]
    assert told[-1] == "The recipe named real+retrieved for this answer before there was any result."


def test_a_group_is_chosen_by_the_mean_of_its_arms(grouped):
    top1 = {"real+generated": 90.0, "real+generated, b": 80.0, "real+retrieved": 99.0, "real+retrieved, b": 70.0}
    arms = [replace(arm, val_top1=top1.get(arm.name)) for arm in grouped.arms]
    generated = [replace(arm, parts={"generated": 1}) if arm.name in top1 else arm for arm in arms]
    told = answer(replace(grouped, arms=tuple(generated)))
    assert "any real+generated averaged" in told[0]
    assert "the validation images chose any real+generated (85.0 % of them right)" in told[-2]
    assert "any real+retrieved averaged" in answer(replace(grouped, answer="any real+retrieved"))[0]
