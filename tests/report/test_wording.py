"""Numbers in words and limits: what one seed does not say, and what a reader must know."""
# ruff: noqa: RUF001 - the report writes true minus signs and en dashes

from dataclasses import replace

import pytest
from small_record import summary_from_json

from genrobust.core import Score
from genrobust.report.renderers.report_html import html
from genrobust.report.renderers.report_markdown import markdown
from genrobust.report.renderers.results_json import summary_to_json
from genrobust.report.report_view import ReportView
from genrobust.report.score_tables import main_tables
from genrobust.report.sections.how_to_read import limits
from genrobust.report.wording import caveat, marks, number, row_name, span
from genrobust.robustness import find_metric, list_metrics


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [(57.64, False, "57.6"), (-0.31, False, "−0.3"), (12.5, True, "+12.5"), (-0.04, True, "0.0"), (0.0, True, "0.0")],
)
def test_numbers_have_one_decimal_and_a_true_minus(value, signed, text):
    assert number(value, signed) == text


@pytest.mark.parametrize(
    ("lo", "hi", "text"),
    [(0.04, 3.12, "+0.0 to +3.1"), (-3, -0.04, "−3.0 to −0.0"), (-0.04, 3, "−0.0 to +3.0"), (0.0, 3, "0.0 to +3.0")],
)
def test_an_interval_excludes_zero_as_written_where_it_does(lo, hi, text):
    assert span(Score(1, lo, hi, 9, 2, ""), signed=True) == text


def test_the_limits_name_subsets_left_out_sets_and_unequal_steps(record):
    text = " ".join(limits(record, list_metrics()))
    assert "classes as test (emoji)" in text
    assert record.summary.left_out["pixel"] in text
    assert "the same 600 steps" in text
    assert "64 px: center crop." in text
    assert "first label alone." in text
    assert "Top-5 accuracy is not shown" in text and record.summary.gaps["top5"]["emoji"] in text
    measured = {metric.title: f"{metric.title} is {metric.note}" in text for metric in list_metrics()}
    assert {title for title, said in measured.items() if said} == {
        find_metric(name).title for name in ("top1", "er", "nll")
    }
    assert limits(record, list_metrics())[-1] == record.notes[-1]
    longer = replace(record, arms=(replace(record.arms[0], steps=900), *record.arms[1:]))
    begun = replace(record.arms[1], started_from=record.arms[0].name)
    further = replace(record, arms=(record.arms[0], begun, *record.arms[2:]))
    for unlike in (longer, further):
        assert "different numbers of steps" in " ".join(limits(unlike, list_metrics()))


def test_pretrained_arms_are_marked_and_compete_with_each_other_alone(record):
    summary = record.summary
    best = max(summary.arms, key=lambda arm: summary.score("top1", arm).value)
    other = next(arm for arm in summary.arms if arm != best)
    begun = replace(record, summary=replace(summary, pretrained=(best,)))
    assert row_name(begun.summary, best) == f"{best} §" and row_name(begun.summary, other) == other
    assert marks(begun.summary).startswith("§ started from a pretrained")
    assert marks(summary) == ""
    assert f"{best} §" in markdown(ReportView(begun))
    assert "rows without ‡ or §" in html(ReportView(begun)) and "rows without" not in html(ReportView(record))
    bold = {
        arm for arm, entries in main_tables(begun.summary, list_metrics())["top1"].rows if any(e.best for e in entries)
    }
    assert best not in bold
    alone = replace(summary, pretrained=summary.arms)
    assert main_tables(alone, list_metrics())["top1"].rows == main_tables(summary, list_metrics())["top1"].rows
    assert summary_from_json(summary_to_json(begun.summary, list_metrics())) == begun.summary


@pytest.mark.parametrize(
    ("grouped", "over"),
    [((), "images"), (("solid",), "images or known groups of them"), (("test", "solid", "emoji"), "groups of images")],
)
def test_intervals_are_over_groups_where_these_are_known(summary, grouped, over):
    """Of `pixel` they need not be: it is left out of the mean."""
    scores = {k: replace(score, groups=4 * (k.test_set in grouped)) for k, score in summary.scores.items()}
    assert f"intervals are over {over}, not over" in caveat(replace(summary, scores=scores, seeds=(0,)))
