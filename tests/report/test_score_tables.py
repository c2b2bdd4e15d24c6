"""The metrics as JSON, CSV, tables and on the terminal: nothing lost, nothing marked that is not so."""
# ruff: noqa: RUF001 - the report writes true minus signs and en dashes

import csv
import io
import json
from dataclasses import replace

import pytest
from small_record import summary_from_json

from genrobust.core.scores import MEAN_OF_SHIFTS, ScoreKey
from genrobust.recipe import load_recipe
from genrobust.report.accuracy_lanes import lanes
from genrobust.report.renderers.report_html import html
from genrobust.report.renderers.report_markdown import markdown
from genrobust.report.renderers.results_json import summary_to_json
from genrobust.report.renderers.scores_csv import summary_to_csv
from genrobust.report.report_folder import report_inputs
from genrobust.report.report_view import ReportView
from genrobust.report.score_tables import difference_table, further_tables, main_tables, metric_table
from genrobust.report.wording import TOO_FEW_GROUPS
from genrobust.robustness import list_metrics
from genrobust.robustness.metric import find_metric

TOP1, ER = find_metric("top1"), find_metric("er")


def test_a_summary_survives_json(summary, grouped):
    for kept in (summary, grouped.summary):
        assert summary_from_json(json.loads(json.dumps(summary_to_json(kept, list_metrics())))) == kept


def test_a_report_is_named_after_what_its_table_of_baselines_holds_and_not_where_it_lies(tmp_path):
    recipe = load_recipe("pictograms")
    there, elsewhere = tmp_path / "a.csv", tmp_path / "b.csv"

    def inputs(path, text):
        path.write_text(text)
        robustness = recipe.robustness.model_copy(update={"baselines": str(path)})
        return report_inputs(recipe.model_copy(update={"robustness": robustness}), [], {})

    first = inputs(there, "model,test_set,clean,shifted\n")
    assert inputs(elsewhere, "model,test_set,clean,shifted\n") == first != report_inputs(recipe, [], {})
    assert inputs(there, "model,test_set,clean,shifted\na,b,80,40\n") != first


def test_the_csv_has_a_row_a_score_and_numbers_that_read_back(grouped):
    rows = list(csv.DictReader(io.StringIO(summary_to_csv(grouped.summary, list_metrics()))))
    assert len(rows) == len(grouped.summary.scores)
    assert {r["group"] for r in rows} == {*grouped.summary.groups, ""}
    assert all(bool(r["arm"]) != bool(r["group"]) for r in rows)
    read = {}
    for r in rows:
        seed = int(r["seed"]) if r["seed"] else None
        key = ScoreKey(r["metric"], r["arm"] or r["group"], r["test_set"], seed, r["minus"])
        read[key] = (float(r["value"]), float(r["lo"]), float(r["hi"]), int(r["n"]), int(r["classes"]))
    assert read == {key: (s.value, s.lo, s.hi, s.n, s.classes) for key, s in grouped.summary.scores.items()}
    units = {(r["metric"], bool(r["minus"])): r["unit"] for r in rows}
    assert units["top1", False] == "%" and units["top1", True] == "points" and units["nll", True] == "nats"
    assert {r["extrapolated"] for r in rows if r["metric"] == "top1"} == {""}
    of_emoji = [r for r in rows if (r["metric"], r["test_set"], r["minus"]) == ("er", "emoji", "")]
    assert "True" in {r["extrapolated"] for r in of_emoji}


def test_tables_put_the_mean_of_the_shifts_first_and_what_is_left_out_of_it_last(summary):
    table = main_tables(summary, list_metrics())["top1"]
    assert [c.name for c in table.columns] == [MEAN_OF_SHIFTS, "test", "solid", "emoji", "pixel"]
    assert [c.kind for c in table.columns] == ["mean", "clean", "shift", "shift", "out"]
    assert table.columns[3].note == "200 images, 12 classes" and table.caption == "Top-1 accuracy, percent"
    assert [entry.text for entry in table.rows[0][1]] == ["40.0", "90.0", "60.0", "20.0", "50.0"]


def test_the_best_of_a_column_and_its_equals_are_marked(summary):
    best = [[entry.best for entry in entries] for _, entries in metric_table(summary, TOP1).rows]
    assert best == [[False] * 5, [False] * 5, [*[True] * 4, False]]  # nothing that is left out of the mean
    key = ScoreKey("top1", "real", "test")
    level = {**summary.scores, key: replace(summary.scores[key], value=91.04)}
    tied = metric_table(replace(summary, scores=level), TOP1)
    assert [entries[1].best for _, entries in tied.rows] == [True, False, True]
    alike = summary.scores | {key._replace(arm=arm): summary.scores[key] for arm in summary.arms}
    assert not any(entries[1].best for _, entries in metric_table(replace(summary, scores=alike), TOP1).rows)


def test_further_metrics_have_their_own_digits_and_may_be_better_when_lower(summary):
    (nll,) = further_tables(summary, list_metrics()).values()  # the others were not measured
    assert [c.kind for c in nll.columns] == ["mean", "gain", "clean", "shift", "shift", "out"]
    assert [entry.text for entry in nll.rows[0][1]] == ["1.200", "–", "0.200", "0.800", "1.600", "1.000"]
    assert nll.rows[1][1][1].text == "−0.250"
    assert [entry.best for entry in nll.rows[2][1]] == [True, False, True, True, True, False]


def test_effective_robustness_marks_what_extrapolates_and_shows_gaps_as_gaps(summary):
    table = metric_table(summary, ER)
    names = [c.name for c in table.columns]
    entries = dict(zip(names, table.rows[1][1], strict=True))
    assert (entries["solid"].text, entries["solid"].extrapolated) == ("+9.0", False)
    assert entries["emoji"].extrapolated and entries[MEAN_OF_SHIFTS].extrapolated
    assert "pixel" not in names  # nothing is known of it
    without = {key: score for key, score in summary.scores.items() if key.metric != "er"}
    assert metric_table(replace(summary, scores=without), ER) is None


def test_differences_are_sure_only_where_the_interval_excludes_zero(summary):
    table = difference_table(summary, TOP1)
    assert [arm for arm, _ in table.rows] == ["real+generated", "real+retrieved"]
    assert [entry.sure for entry in table.rows[0][1]] == [True, False, False, True, True, True]
    assert table.columns[1].name == "shifts like these" and table.rows[0][1][1].text == "−19.3 to +44.3"
    assert table.rows[1][1][1].text == "−97.1 to +100.0"  # as the verdict says it
    assert difference_table(replace(summary, arms=("real",)), TOP1) is None


def test_the_interval_over_shifts_like_these_holds_that_for_these(summary):
    """Shifts may agree by chance, and each is known from few images."""
    agreeing = {key: replace(score, value=12.5) for key, score in summary.scores.items() if key.minus}
    mean, like_these = difference_table(replace(summary, scores=summary.scores | agreeing), TOP1).rows[0][1][:2]
    assert like_these.text == mean.interval == "+10.5 to +14.5"


def test_what_was_measured_is_shown_however_wide_its_interval(summary):
    """A column of the mean would be missed."""
    key = ScoreKey("er", "real", "solid")
    wide = replace(summary, scores=summary.scores | {key: replace(summary.scores[key], lo=-80.0, hi=90.0)})
    assert metric_table(wide, ER).rows[0][1][1].interval == "−80.0 to +90.0"


def test_a_shift_whose_line_says_too_little_is_marked_as_left_out_of_the_mean(summary):
    weak = {test: replace(line, r2=0.3 if test == "emoji" else line.r2) for test, line in summary.lines.items()}
    table = metric_table(replace(summary, lines=weak), ER)
    assert [(c.name, c.kind) for c in table.columns[1:]] == [("solid", "shift"), ("emoji", "out")]
    assert table.columns[0].note == "1 of 2 sets"


def test_few_groups_of_images_stand_in_place_of_an_interval(summary):
    table = metric_table(summary, TOP1)
    assert [entry.interval for entry in table.rows[0][1]][2:4] == ["58.0–62.0", "11.0–28.0"]
    assert difference_table(summary, TOP1).rows[0][1][4].interval == "+13.0 to +17.0"


@pytest.mark.parametrize(
    ("groups", "hi", "is_shown"), [(7, 100.0, False), (8, 100.0, True), (0, 100.0, True), (7, 60.0, True)]
)
def test_a_wide_interval_over_few_groups_is_nowhere_but_in_the_results(record, groups, hi, is_shown):
    record = replace(record, answer="real+generated")
    summary = record.summary
    accuracy = ScoreKey("top1", "real", "solid")
    gained = ScoreKey("top1", "real+generated", minus="real")
    er = ScoreKey("er", "real", "solid")
    scores = dict(summary.scores)
    for key in (accuracy, gained, er):
        scores[key] = replace(scores[key], value=45.0, lo=0.4, hi=hi, groups=groups)
    summary = replace(summary, scores=scores, by_group={})
    view = ReportView(replace(record, summary=summary))
    of_top1, of_er = (metric_table(summary, metric).rows[0][1] for metric in (TOP1, ER))
    gain = difference_table(summary, TOP1).rows[0][1][0]
    for entry in (of_top1[2], of_er[1], gain):
        assert (entry.interval == TOO_FEW_GROUPS) is not is_shown
    assert gain.sure is is_shown
    assert view.answer.verdict.startswith("Yes") is is_shown
    low, high = lanes(summary, ["real"], ["solid"]).rows["solid"][0].whisker
    assert (low < high) is is_shown
    for page in (html(view), markdown(view)):
        assert (TOO_FEW_GROUPS in page) is not is_shown
        assert ("0.4\N{EN DASH}" in page and "+0.4 to" in page) is is_shown
    assert summary_from_json(summary_to_json(summary, list_metrics())).scores == scores


@pytest.mark.parametrize("width", [70, 100])
def test_the_terminal_table_fits_its_width_and_cuts_no_name(summary, shown, width):
    long = {arm: f"{arm}, drawing styles, seven of them" for arm in summary.arms[1:]}
    text = json.dumps(summary_to_json(summary, list_metrics()))
    for arm, name in long.items():
        text = text.replace(json.dumps(arm), json.dumps(name))
    table = shown(summary_from_json(json.loads(text)), width)
    first = "".join(line[1:].partition("│")[0].strip() for line in table.splitlines() if line.startswith("│"))
    assert all(name.replace(" ", "") in first.replace(" ", "") for name in long.values())
    assert "…" not in table and "+10.5 to +14.5" in table


def test_many_arms_are_rows_of_the_terminal_table(summary, shown):
    copies = [f"arm {i}" for i in range(5)]
    mine = {key: score for key, score in summary.scores.items() if key.arm == "real+generated"}
    scores = {key._replace(arm=arm): score for arm in copies for key, score in mine.items()}
    many = replace(summary, arms=(*summary.arms, *copies), scores=summary.scores | scores)
    rows = [line for line in shown(many, 110).splitlines() if line.startswith("│ arm ")]
    assert len(rows) == 5
    for text in ("52.5", "+12.5", "+10.5"):
        assert all(text in row for row in rows), text
