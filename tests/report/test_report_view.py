"""The view: what a report shows first, its plots, and sections, each one file that every page shows."""
# ruff: noqa: RUF001 - the report writes en dashes

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from genrobust.core import MEAN_OF_SHIFTS, ScoreKey, StudyRecord
from genrobust.report.accuracy_lanes import axis, lanes
from genrobust.report.renderers.report_html import html
from genrobust.report.renderers.report_markdown import markdown
from genrobust.report.report_files import write_report
from genrobust.report.report_section import ReportSection, plain_table
from genrobust.report.report_view import SECTIONS, ReportView
from genrobust.report.sections.accuracy import accuracy
from genrobust.report.sections.effective_robustness import robustness

EVIL = "<b>crane</b> [red]"


def test_a_section_has_a_template_or_what_shows_everything(record: StudyRecord, tmp_path: Path) -> None:
    view = ReportView(record)
    orders = [section.order for section in view.sections.values()]
    assert orders == sorted(orders)
    table = plain_table(("class", "taken for"), [[EVIL, "1.5"]], "A score")
    (plot, *_) = view.sections["robustness"].plots
    parts: dict[str, Any] = {
        "tables": [table],
        "plots": [plot],
        "items": ["One."],
        "code": [("sh", "ls")],
        "note": "Two.",
    }
    view.sections["any"] = ReportSection("Any", 1, **parts)
    view.sections["own"] = ReportSection(
        "Own", 2, template="<p>{{ values.text }} {{ m.mark('real') }}</p>", values={"text": EVIL}
    )
    files = write_report(view, tmp_path)
    page, text = files["report.html"].read_text(), files["report.md"].read_text()
    for part in ("A score", "1.5", "One.", "ls", "Two."):
        assert part in page and part in text
    assert page.count(f"<b>{plot.heading}</b>") == 2
    assert "&lt;b&gt;crane" in page and EVIL not in page and "\\<b\\>crane" in text
    assert '<p>&lt;b&gt;crane&lt;/b&gt; [red] <svg class="mark' in page
    assert "## Own" not in text  # which has nothing that Markdown shows


def test_a_section_of_another_package_that_fails_costs_no_report(
    record: StudyRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(view: ReportView) -> ReportSection:
        raise KeyError(EVIL)

    SECTIONS.members()
    monkeypatch.setitem(SECTIONS._own, "failing", failing)
    files = write_report(ReportView(record), tmp_path)
    assert "failing" in caplog.text and "KeyError" in caplog.text
    page = files["report.html"].read_text()
    assert "failing: failed" in page and "KeyError" in page and EVIL not in page


def test_one_shift_is_shown_without_a_mean(record: StudyRecord, shown) -> None:
    summary = record.summary
    of_mean = {}
    for key, score in summary.scores.items():
        if key.test_set == "solid":
            of_mean[key._replace(test_set=MEAN_OF_SHIFTS)] = score
    left_out = {**summary.left_out, "emoji": "200 images, fewer than 250"}
    summary = replace(summary, shifts=("solid",), left_out=left_out, scores=summary.scores | of_mean)
    arms = tuple(replace(arm, seconds={"train": 60}) for arm in record.arms)
    view = ReportView(replace(record, summary=summary, arms=arms))
    assert [column.name for column in view.headline.columns] == ["test", "solid"]
    assert [lane.arm for lane, _ in view.headline.rows] == ["real+retrieved", "real+generated", "real"]
    cost = view.sections["cost"].tables[0]
    assert cost.columns[0].name == "solid" and cost.rows[0][1][0].text == "60.0"
    (nll,) = view.sections["further"].tables
    assert [column.kind for column in nll.columns][:3] == ["clean", "shift", "gain"]
    for text in (html(view), markdown(view), shown(summary, 110)):
        assert "solid" in text and MEAN_OF_SHIFTS not in text.replace("\u00a0", " ")


def test_the_page_begins_with_the_verdict_and_every_arm_on_the_mean_of_the_shifts(record: StudyRecord) -> None:
    view = ReportView(record)
    lanes = {lane.arm: lane for lane, _ in view.headline.rows}
    assert list(lanes) == ["real+retrieved", "real+generated", "real"] and not view.headline.folded
    assert 0 < view.headline.guessing < lanes["real"].whisker[0] < lanes["real"].at < lanes["real+retrieved"].at < 100
    assert [c.kind for c in view.headline.columns] == ["mean", "clean"] and "guessing (12.5 %)" in view.headline.caption
    page = html(view).replace("\u00a0", " ").replace("\u2011", "-")
    places = [page.index(part) for part in (view.answer.verdict, "guessing (12.5 %)", view.caveat, "In words")]
    assert places == sorted(places) and places[-1] < page.index(view.answer.details[0])
    uneven = ReportView(replace(record, summary=replace(record.summary, commonest={"solid": 50.0}))).headline
    assert uneven.guessing > view.headline.guessing and "frequent class (29.2 %)" in uneven.caption
    clean = {key: score for key, score in record.summary.scores.items() if key.test_set != MEAN_OF_SHIFTS}
    alone = ReportView(replace(record, summary=replace(record.summary, shifts=(), left_out={}, scores=clean)))
    assert [c.kind for c in alone.headline.columns] == ["clean"] and "test" in alone.headline.caption
    few = {"test": dict.fromkeys(record.summary.arms, (60.0, 95.0))}  # groups, whose range stands beside the clean set
    for of, said in ((record, "Numbers on test"), (alone.record, "test, with the range")):
        headline = ReportView(replace(of, summary=replace(of.summary, by_group=few))).headline
        assert headline.rows[0][1][-1].interval == "60.0–95.0" and said in headline.caption


def test_plots_of_many_arms_show_those_of_the_answer_and_the_best(record: StudyRecord) -> None:
    summary, others = record.summary, [f"arm {i}" for i in range(20)]
    scores = dict(summary.scores)
    for above, arm in enumerate(others, 1):
        of_real = {key: score for key, score in summary.scores.items() if key.arm == "real" and not key.minus}
        scores |= {key._replace(arm=arm): score for key, score in of_real.items()}
        mean = summary.score("top1", "real")
        scores[ScoreKey("top1", arm, MEAN_OF_SHIFTS)] = replace(mean, value=mean.value + above)
    view = ReportView(replace(record, summary=replace(summary, arms=(*summary.arms, *others), scores=scores)))
    shown = ["real+retrieved", *others[:12:-1], "real+generated", "real"]
    assert [lane.arm for lane, _ in view.headline.rows] == view.pictured == shown
    assert [lane.arm for lane, _ in view.headline.folded] == others[12::-1]
    for section in (accuracy(view), robustness(view)):
        assert section is not None and "10 of the 23 arms" in f"{section.lead} {section.note}"
        assert [arm for _, arm in section.plots[0].legend] == shown
        assert [name for name, _ in section.tables[0].rows] == list(view.summary.arms)


@pytest.mark.parametrize(("least", "most"), [(98.0, 98.4), (0.0, 3.0), (50.0, 50.0), (41.0, 52.0), (0.0, 100.0)])
def test_axes_span_ten_points_or_more_and_every_interval(least: float, most: float) -> None:
    position, ticks = axis([(least, most), (most, most)])
    low, high = ticks[0][1], ticks[-1][1]
    assert low <= least <= most <= high and high - low >= 10 and 3 <= len(ticks) <= 8
    assert all(0 <= position(value) <= 100 for value in (least, most)) and low >= 0 and high <= 100


def test_guessing_is_drawn_where_it_lies_on_the_axis(record: StudyRecord) -> None:
    """That of accuracies of 58 to 62 %."""
    for commonest, is_drawn in ((0, False), (53, False), (54, True), (59, True), (99, False)):
        drawn = lanes(replace(record.summary, commonest={"solid": commonest}), ["real"], ["solid"])
        assert bool(drawn.guessing) is is_drawn


def test_panels_of_a_small_study_hold_their_intervals_and_name_only_what_they_draw(record: StudyRecord) -> None:
    few = {k: replace(s, lo=s.value - 30, hi=min(s.value + 30, 100)) for k, s in record.summary.scores.items()}
    top1 = {key: score for key, score in few.items() if key.metric == "top1"}
    small = replace(record, baselines=(), summary=replace(record.summary, lines={}, by_group={}, scores=top1))
    for plot in ReportView(small).sections["robustness"].plots:
        ((_, (shared, panel, box, _)),) = plot.parts
        ends = [y for mark in panel["marks"] if mark.mean for y in mark.whisker]
        assert all(box["top"] < y < box["bottom"] for y in ends) and len(shared["x_ticks"]) > 2
        assert set(plot.keys) <= {"diagonal"} and bool(plot.keys) is bool(shared["diagonal"])
    assert ReportView(record).sections["robustness"].plots[0].keys == ["baseline", "line", "diagonal"]
