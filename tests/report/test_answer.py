"""The answer: what was gained and how surely, about an arm that no test set has chosen."""
# ruff: noqa: RUF001 - the report writes true minus signs and en dashes

import re
from dataclasses import replace

import pytest

from genrobust.core.scores import MEAN_OF_SHIFTS, Score, ScoreKey
from genrobust.report.answer import find_answer


def figures(text: str) -> list[str]:
    """The numbers in a text, with their signs."""
    return re.findall(r"[+−]?\d+(?:\.\d)?", text)


def test_the_verdict_comes_first_and_then_generated_against_retrieved_images(record):
    verdict, control, accuracy, robustness = find_answer(record).sentences
    assert verdict.startswith("Yes: over these 2 ") and "undecided" in verdict
    assert figures(verdict) == ["2", "12.5", "1", "95", "+10.5", "+14.5", "−19.3", "+44.3", "2"]
    assert "17.5 points below real+retrieved" in control and figures(control) == ["17.5", "−19.5", "−15.5"]
    assert figures(accuracy) == ["52.5", "1", "40.0", "12.5", "−0.4", "95", "−2.4", "+1.6"] and "chance" in accuracy
    assert figures(robustness) == ["11.0", "95", "+9.0", "+13.0", "+10.5", "−0.5"]


def test_a_gain_that_all_shifts_share_is_not_about_these_alone(record):
    alike = {ScoreKey("top1", "real+generated", t, minus="real"): Score(v, v - 2, v + 2, 9, 6, "")
             for t, v in (("solid", 12.4), ("emoji", 12.6))}  # fmt: skip
    verdict = find_answer(
        replace(record, summary=replace(record.summary, scores=record.summary.scores | alike))
    ).verdict
    assert verdict.startswith("Yes: over 2 ") and figures(verdict)[-3:] == ["+10.5", "+14.5", "2"], "as on these shifts"
    assert "undecided" not in verdict
    apart = {key: replace(score, value=value) for (key, score), value in zip(alike.items(), (3.5, 45), strict=True)}
    told = replace(record, summary=replace(record.summary, scores=record.summary.scores | apart))
    assert figures(find_answer(told).verdict)[-3:] == ["−100.0", "+100.0", "2"], "no difference is larger"


def with_difference(record, value: float, half: float, arm: str = "real+generated", minus: str = "real"):
    scores = record.summary.scores | {
        ScoreKey("top1", arm, minus=minus): Score(value, value - half, value + half, 9, 6, "")
    }
    return replace(record, summary=replace(record.summary, scores=scores))


@pytest.mark.parametrize(
    ("gained", "begin"), [((4, 2), "Yes: "), ((-4, 2), "No: "), ((1, 2), "Not decided: "), ((0, 0), "Not decided: ")]
)
def test_the_verdict_is_yes_no_or_not_decided_by_the_interval_of_the_gain(record, gained, begin):
    assert find_answer(with_difference(record, *gained)).sentences[0].startswith(begin)
    retrieved = find_answer(with_difference(record, *gained, arm="real+retrieved", minus="real+generated")).sentences[1]
    assert (" points above real+retrieved (" in retrieved) is (gained[0] < 0)
    assert ("chance" in retrieved) is begin.startswith("Not")


def test_a_gain_over_an_arm_from_scratch_is_no_yes_of_a_pretrained_one(record):
    begun = replace(record, summary=replace(record.summary, pretrained=("real+generated",)))
    verdict, *others = find_answer(begun).sentences
    assert verdict.startswith("Over these 2 ") and "12.5" in verdict
    assert not any("retrieved images" in text for text in others)
    every = replace(record, summary=replace(record.summary, pretrained=record.summary.arms))
    assert find_answer(every) == find_answer(record)


@pytest.mark.parametrize(
    ("title", "asks"),
    [
        ("Pictograms: do generated icons make a classifier robust?", True),
        ("Photos: does augmentation help on other cameras?", True),
        ("ImageNet: do images of Stable Diffusion make a classifier robust? With the authors' settings", True),
        ("Pictograms: how many generated icons does a classifier want?", False),
        ("Pictograms: generated icons or augmented ones?", False),
        ("my study", False),
        ("A classifier of 6 classes: is real+generated better than real?", True),
        ("Icons: do generated images help against noise and costumes?", True),
        ("Are real images better than generated ones?", False),
        ("Does generated data hurt a robust classifier?", False),
        ("Do we need real images to be robust?", False),
    ],
)
def test_a_title_that_asks_for_no_yes_gets_none(record, title, asks):
    assert find_answer(replace(record, title=title)).verdict.startswith("Yes: " if asks else "Over ")


@pytest.mark.parametrize(
    ("lowest", "commonest", "decided"),
    [(13.0, {}, True), (12.0, {}, False), (34.0, {"solid": 50.0}, True), (33.0, {"solid": 50.0, "emoji": 20}, False)],
)
def test_arms_that_are_not_surely_above_guessing_decide_nothing(record, lowest, commonest, decided):
    """Guessing gives 12.5 %, the mean of one in 6 and in 12. A higher rate replaces it."""
    summary = record.summary
    of_two = [ScoreKey("top1", arm) for arm in ("real", "real+generated")]
    scores = summary.scores | {key: replace(summary.scores[key], lo=lowest) for key in of_two}
    told = find_answer(replace(record, summary=replace(summary, scores=scores, commonest=commonest))).sentences
    assert told[0].startswith("Yes" if decided else "Not decided")
    rate = "35.0 %" if commonest else "12.5 %"
    assert (rate in told[0]) is not decided
    assert ("12.5 %" in " ".join(told)) is not commonest


def test_a_set_that_is_answered_worse_than_by_guessing_looks_mislabeled(record):
    """Or the clean one far worse than validation images: of 90 % there, 53 is nearer to guessing than to them."""
    summary, arms = record.summary, tuple(replace(arm, val_top1=90.0) for arm in record.arms)

    def told(of: str, lo: float, hi: float) -> tuple[str, ...]:
        scores = {ScoreKey("top1", arm.name, of): Score(lo, lo, hi, 40, 6, "") for arm in arms}
        changed = replace(summary, scores=summary.scores | scores)
        return find_answer(replace(record, summary=changed, arms=arms)).warnings

    assert told("test", 50.0, 60.0) == told("solid", 17.0, 30.0) == ()
    for of, lo, hi in (("test", 0.0, 16.0), ("test", 40.0, 53.0), ("solid", 0.0, 16.0), ("pixel", 0.0, 16.0)):
        (warning,) = told(of, lo, hi)
        assert warning.startswith(f"Warning: on {of}, ") and "guessing (16.7 %)" in warning


@pytest.mark.parametrize(
    ("parts", "is_control"),
    [
        ({"retrieved": 10}, True),
        ({"real": 10, "retrieved-by-search": 10}, True),
        ({"real": 10, "retrieved-by-class": 10}, True),
        ({"retrieved-all": 10}, True),
        ({"real": 10}, False),
        ({"real": 10, "retrieved": 10, "generated": 10}, False),
    ],
)
def test_a_control_has_retrieved_images_and_no_generated_ones(record, parts, is_control):
    real, generated, last = record.arms
    shown = find_answer(
        replace(record, arms=(real, generated, replace(last, parts=parts)), answer="real+generated")
    ).sentences
    assert shown[1].startswith("Compared with retrieved images") == is_control


def test_a_control_that_trained_alike_comes_before_one_that_did_not(record):
    _, generated, last = record.arms
    other = replace(last, name="real", augmentation="drawing-styles")
    assert "below real+retrieved" in find_answer(replace(record, arms=(other, generated, last))).sentences[1]
    assert "above real (" in find_answer(replace(record, arms=(other, generated))).sentences[1]  # better than none


@pytest.mark.parametrize(("ahead", "said"), [((4, 2), ""), ((1, 2), "may do as well"), ((-4, 2), "does better")])
def test_an_augmentation_that_may_do_as_well_is_named_beside_the_verdict(record, ahead, said):
    real, generated, last = record.arms
    augmented = replace(last, parts=real.parts, augmentation="autoaugment")
    told = with_difference(record, *ahead, minus=last.name)
    told = replace(told, arms=(real, generated, augmented), answer=generated.name)
    rival = find_answer(told).rival
    assert len(rival) == bool(said)
    assert all(said in text and last.name in text and figures(text) == ["70.0"] for text in rival)
    begun = replace(told, summary=replace(told.summary, pretrained=(last.name,)))
    assert not find_answer(begun).rival, "it may be the pretrained network"


def test_what_an_augmentation_is_itself_compared_with_is_no_augmentation_alone(record):
    real, generated, last = record.arms
    styled = (replace(arm, augmentation="drawing-styles") for arm in (real, generated))
    references = {"real+generated": "real", "real": last.name, last.name: last.name}
    summary = replace(record.summary, references=references)
    arms = (*styled, replace(last, parts=real.parts))
    told = find_answer(replace(record, summary=summary, arms=arms, answer=generated.name))
    assert not any("augmentation alone" in sentence for sentence in told.sentences)


def test_further_folders_of_images_are_not_taken_for_generated_ones(record):
    *arms, last = record.arms
    images = {"real": 1800, "deepaugment": 4987}
    changed = replace(record, arms=(*arms, replace(last, parts=images, val_top1=95.0)))
    assert "real+retrieved gains" in find_answer(changed).sentences[0]
    told = replace(changed, not_generated=(*record.not_generated, "deepaugment"))
    assert "real+generated gains" in find_answer(told).sentences[0]


def test_a_study_of_one_arm_or_without_a_mean_or_lines_still_has_an_answer(record):
    summary = record.summary
    alone = replace(summary, arms=("real",))
    (only,) = find_answer(replace(record, summary=alone, arms=record.arms[:1])).sentences
    assert "no arm" in only
    no_lines = replace(summary, lines={}, scores={k: s for k, s in summary.scores.items() if k.metric == "top1"})
    assert not any("robustness" in sentence for sentence in find_answer(replace(record, summary=no_lines)).sentences)
    of_sets = {k: s for k, s in summary.scores.items() if k.test_set != MEAN_OF_SHIFTS}
    no_mean = replace(summary, shifts=(), scores=of_sets)
    assert find_answer(replace(record, summary=no_mean)).sentences[0].startswith("Not decided: ")


@pytest.mark.parametrize(("most", "named"), [(12.5, False), (14.0, True)])
def test_groups_of_images_are_named_where_one_matters(record, most, named):
    gains = {"real+generated": {"a photograph": 12.0, "a designer": most}}
    told = find_answer(replace(record, summary=replace(record.summary, without_group=gains))).details
    said = [text for text in told if "a photograph" in text and "a designer" in text]
    assert [figures(text) for text in said] == ([["+12.0", "+14.0"]] if named else [])


def of_two(record, *val_top1):
    """The record with a second generated arm, whose mean over the shifts is the higher one."""
    real, generated, _ = record.arms
    second = replace(generated, name="real+retrieved")
    arms = [replace(arm, val_top1=top1) for arm, top1 in zip((generated, second), val_top1, strict=True)]
    return replace(record, arms=(real, *arms))


def test_of_several_arms_validation_chooses_and_no_test_set(record):
    for val_top1, chosen in (((91.0, 90.0), "real+generated"), ((90.0, 91.0), "real+retrieved")):
        told = find_answer(of_two(record, *val_top1)).sentences
        assert f"{chosen} gains" in told[0]
        assert f"{chosen} was chosen" in told[-1] and "(91.0 %)" in told[-1]
    told = find_answer(of_two(record, None, None)).sentences
    assert "real+generated gains" in told[0] and "lists it first" in told[-1]


def test_no_pretrained_arm_is_chosen_whose_reference_is_from_scratch(record):
    two = of_two(record, 90.0, 99.0)
    for pretrained, chosen in (
        (("real+retrieved",), "real+generated"),
        (("real", "real+retrieved"), "real+retrieved"),
        (("real+generated", "real+retrieved"), "real+retrieved"),
    ):
        told = find_answer(replace(two, summary=replace(two.summary, pretrained=pretrained))).sentences
        assert f"{chosen} gains" in told[0]


def test_an_arm_that_the_recipe_names_is_the_answer_and_called_so(record):
    told = find_answer(replace(of_two(record, 91.0, 90.0), answer="real+retrieved")).sentences
    assert "real+retrieved gains" in told[0]
    assert "recipe named real+retrieved" in told[-1]


def test_what_was_wrong_with_images_follows_the_results(record, grouped):
    for each in (record, grouped):
        results = find_answer(each).sentences
        assert find_answer(replace(each, warnings=("All copies.",))).sentences == (*results, "All copies.")


@pytest.mark.parametrize("gained", [(4, 2), (-4, 2), (1, 2)])
def test_figures_of_a_short_version_decide_nothing(record, gained):
    of_two = with_difference(replace(record, command="genrobust run pictograms --quick"), *gained)
    answer = find_answer(of_two)
    assert "--quick" in answer.verdict and not figures(answer.verdict)
    assert not answer.guessed and not answer.rival
    assert answer.details == find_answer(replace(of_two, command="genrobust run pictograms")).details


@pytest.mark.parametrize(
    ("begun", "said"), [((), False), (("real+generated",), True), (("real+generated", "real"), False)]
)
def test_a_gain_of_a_pretrained_network_over_one_from_scratch_is_not_that_of_images_alone(record, begun, said):
    told = find_answer(replace(record, summary=replace(record.summary, pretrained=begun))).details
    assert ("pretrained network" in told[0]) is said
    assert not said or told[0].index("real+generated") < told[0].index("real did not")


def test_a_group_is_chosen_by_the_mean_of_its_arms(grouped):
    top1 = {"real+generated": 90.0, "real+generated, b": 80.0, "real+retrieved": 99.0, "real+retrieved, b": 70.0}
    arms = [replace(arm, val_top1=top1.get(arm.name)) for arm in grouped.arms]
    generated = [replace(arm, parts={"generated": 1}) if arm.name in top1 else arm for arm in arms]
    told = find_answer(replace(grouped, arms=tuple(generated))).sentences
    assert "any real+generated gains" in told[0]
    assert "any real+generated was chosen" in told[-2] and "85.0" in told[-2]
    assert "any real+retrieved gains" in find_answer(replace(grouped, answer="any real+retrieved")).sentences[0]


def test_a_group_may_be_compared_with_an_arm_in_none(grouped):
    summary = grouped.summary
    groups = {name: arms for name, arms in summary.groups.items() if name != "any real"}
    scores = {key._replace(minus=key.minus.removeprefix("any ")): score for key, score in summary.scores.items()}
    alone = replace(
        summary, groups=groups, references=summary.references | dict.fromkeys(groups, "real"), scores=scores
    )
    told = find_answer(replace(grouped, summary=alone)).sentences
    assert "any real+generated gains 12.5 points" in told[0] and "over real (" in told[0]
    assert told[-1].startswith("any real+generated is a mean")


@pytest.mark.parametrize(
    ("guessed", "shifts", "verdict"), [(1, 4, "Yes: "), (1, 3, "Not decided"), (2, 4, "Not decided")]
)
def test_where_a_third_of_the_shifts_is_guessed_the_arms_are_too_weak_to_tell(record, guessed, shifts, verdict):
    """Of 7 classes, 21 % on average are surely above guessing (14.3 %), though single shifts are not."""
    names, pair = tuple(f"shift{number}" for number in range(shifts)), ("real", "real+generated")
    of_sets = {name: 14.3 if number < guessed else 25.0 for number, name in enumerate(names)}
    scores = {
        ScoreKey("top1", arm, name): Score(v, v - 4, v + 4, 280, 7, "") for arm in pair for name, v in of_sets.items()
    }
    means = {ScoreKey("top1", arm): Score(21.0, 18.0, 24.0, 900, 7, "") for arm in pair}
    summary = replace(record.summary, arms=pair, shifts=names, scores=record.summary.scores | scores | means)
    of_two = replace(record, summary=summary, arms=record.arms[:2])
    told = " ".join(find_answer(with_difference(of_two, 1.4, 1.0)).sentences)
    assert told.startswith(verdict) and ("too weak to tell" in told) is (verdict != "Yes: ")
    assert f"n {', '.join(names[:guessed])}, neither real+generated nor real is" in told
