"""Numbers in words and limits: what one seed does not say, and what a reader must know."""
# ruff: noqa: RUF001 - the report writes true minus signs and en dashes

from dataclasses import replace

import pytest

from genrobust.core.results import MEAN_OF_SHIFTS, Score
from genrobust.report.renderers.html import html
from genrobust.report.renderers.markdown import markdown
from genrobust.report.results import summary_from_json, summary_to_json
from genrobust.report.tables import main_tables
from genrobust.report.view import ReportView
from genrobust.report.wording import caveat, count, duration, limits, marks, number, row_name, span
from genrobust.robustness import list_metrics


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


def test_one_seed_claims_nothing_and_two_say_that_they_are_few(summary):
    assert "claims nothing general" in caveat(replace(summary, seeds=(0,)))
    assert "three or more are better" in caveat(replace(summary, seeds=(0, 1)))
    assert caveat(summary) == "Intervals are 95 %, over images and 3 seeds."


def test_the_limits_name_subsets_left_out_sets_and_unequal_steps(record):
    text = " ".join(limits(record, list_metrics()))
    assert "(emoji)" in text
    assert "40 images, fewer than 150" in text
    assert "the same 600 steps" in text
    assert "64 px: center crop." in text
    assert "first label alone." in text
    assert "Top-5 accuracy is not shown on emoji" in text
    assert "Negative log-likelihood is minus the log" in text and "Calibration error is" not in text  # not measured
    assert limits(record, list_metrics())[-1] == "The generator saw no test image."
    longer = replace(record, arms=(replace(record.arms[0], steps=900), *record.arms[1:]))
    assert "different numbers of steps" in " ".join(limits(longer, list_metrics()))


def test_groups_of_images_are_counted_beside_the_images_and_said_how_to_read(record):
    def grouped(key, score):
        return replace(score, groups={"solid": 9, "emoji": 3}.get(key.test_set, 0))

    scores = {key: grouped(key, score) for key, score in record.summary.scores.items()}
    found = replace(record, summary=replace(record.summary, scores=scores))
    words = " ".join(limits(found, list_metrics()))
    assert "9 groups in solid, 3 groups in emoji" in words
    assert "test, pixel are of one group" in words
    assert "over groups of images and 3 seeds" in words
    assert "300 images, 9 groups, 6 classes" in markdown(ReportView(found))
    assert "groups of images" not in " ".join(limits(record, list_metrics()))


def test_an_arm_without_a_mean_of_effective_robustness_leaves_its_place_empty(record, shown):
    gone = {key for key in record.summary.scores if key.metric == "er" and key.test_set == MEAN_OF_SHIFTS}
    gone -= {key for key in gone if key.arm != "real+generated"}
    scores = {key: score for key, score in record.summary.scores.items() if key not in gone}
    found = replace(record.summary, scores=scores)
    row = next(line for line in shown(found, 120).splitlines() if "Effective robustness" in line)
    assert row.count("–") == 1 and "+27.0" in row
    fewer = {key: score for key, score in scores.items() if key not in gone and key.arm == "real+retrieved"}
    kept = {key: score for key, score in scores.items() if key.metric != "er"} | fewer
    few = replace(found, scores=kept)  # one of three arms: which says too little
    assert "Effective robustness" not in shown(few, 120)
    assert "Effective robustness of single" in " ".join(limits(replace(record, summary=few), list_metrics()))


def test_pretrained_arms_are_marked_and_compete_with_each_other_alone(record):
    summary = record.summary
    best = max(summary.arms, key=lambda arm: summary.score("top1", arm).value)
    other = next(arm for arm in summary.arms if arm != best)
    begun = replace(record, summary=replace(summary, pretrained=(best,)))
    assert row_name(begun.summary, best) == f"{best} §" and row_name(begun.summary, other) == other
    assert marks(begun.summary) == "§ started from a pretrained network." and marks(summary) == ""
    assert "§ started from a pretrained network: compare these with each other." in limits(begun, list_metrics())
    assert f"{best} §" in markdown(ReportView(begun))
    assert "of a column among the rows without ‡ or §, not" in html(ReportView(begun))
    assert "of a column, not" in html(ReportView(record))
    bold = {
        arm for arm, entries in main_tables(begun.summary, list_metrics())["top1"].rows if any(e.best for e in entries)
    }
    assert best not in bold
    alone = replace(summary, pretrained=summary.arms)
    assert main_tables(alone, list_metrics())["top1"].rows == main_tables(summary, list_metrics())["top1"].rows
    assert summary_from_json(summary_to_json(begun.summary, list_metrics())) == begun.summary
