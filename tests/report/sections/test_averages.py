"""The section on groups of arms in every form of the report, and the paper's metrics where they belong."""

import csv
import io
import json
from dataclasses import replace

import pytest

from genrobust.core.record import StudyRecord
from genrobust.core.results import MEAN_OF_SHIFTS
from genrobust.report.answering import answer
from genrobust.report.nouns import Column, Entry, Table
from genrobust.report.renderers.csv import summary_to_csv
from genrobust.report.renderers.html import html
from genrobust.report.renderers.markdown import markdown
from genrobust.report.results import summary_from_json, summary_to_json
from genrobust.report.sections.averages import PAPER, averages, with_paper
from genrobust.report.view import ReportView
from genrobust.report.wording import limits
from genrobust.robustness import list_metrics

SHIFTS = ("v2", "sketch", "r", "on")
KINDS = {"v2": "imagenet-v2", "sketch": "imagenet-sketch", "r": "imagenet-r", "on": "objectnet", "a": "imagenet-a"}


def text(table: Table, row: int) -> list[str]:
    return [entry.text for entry in table.rows[row][1]]


def test_a_study_without_groups_shows_nothing_new(record: StudyRecord) -> None:
    assert averages(ReportView(record)) is None
    assert "Averaged over" not in html(ReportView(record)) and "Averaged over" not in markdown(ReportView(record))
    assert not any("gives each arm of a group" in note for note in limits(record, list_metrics()))
    assert all(
        row["group"] == "" for row in csv.DictReader(io.StringIO(summary_to_csv(record.summary, list_metrics())))
    )


def test_a_group_has_a_row_in_each_table(grouped: StudyRecord) -> None:
    found = averages(ReportView(grouped))
    assert found is not None
    robustness, accuracy, gains_in_robustness, gains = found.tables
    assert found.title == "Averaged over architectures"
    assert [c.name for c in robustness.columns] == ["solid", "emoji", MEAN_OF_SHIFTS]
    assert [name for name, _ in robustness.rows] == ["any real", "any real+generated", "any real+retrieved"]
    assert text(robustness, 1) == ["+9.0", "+12.0", "+10.5"]
    assert [entry.best for entry in robustness.rows[2][1]] == [True, False, False]  # no best of what extrapolates
    assert [entry.extrapolated for entry in robustness.rows[1][1]] == [False, True, True]
    assert text(accuracy, 1) == ["84.6", "65.0", "30.0", "47.5", "50.0"]
    assert [name for name, _ in gains_in_robustness.rows] == ["any real+generated", "any real+retrieved"]
    assert text(gains_in_robustness, 0)[2] == "+11.0" and gains_in_robustness.rows[0][1][2].sure
    assert text(gains, 0)[3] == "+12.5"


def test_groups_whose_arms_share_an_architecture_average_over_arms(grouped: StudyRecord) -> None:
    same = replace(grouped, arms=tuple(replace(arm, architecture="resnet10t") for arm in grouped.arms))
    assert "Averaged over arms" in html(ReportView(same))
    assert answer(same).sentences[-1] == "All are means over 2 arms."


def test_the_page_and_markdown_lead_with_the_groups_and_name_each_reference(grouped: StudyRecord) -> None:
    for page, head in (
        (html(ReportView(grouped)), '<h2 id="averages">Averaged over'),
        (markdown(ReportView(grouped)), "## Averaged over"),
    ):
        assert f"{head} architectures" in page
        accuracy = "Top-1 accuracy, percent" if head[0] == "#" else 'id="accuracy"'
        assert page.index("Averaged over") < page.index(accuracy)
        assert "any real+generated" in page and "+10.5" in page
        assert "each arm&#39;s reference" in page or "each arm's reference" in page
        assert "minus real, b" in page
    assert html(ReportView(grouped)).count("<small>reference</small>") == 1
    assert html(ReportView(grouped)).count('<li><span class="name">') == 3  # the groups, before anything else
    assert "any real: real; real, b." in html(ReportView(grouped))


def test_the_answer_is_about_groups_and_says_so(grouped: StudyRecord) -> None:
    verdict, control, accuracy, robustness, means = answer(grouped).sentences
    assert "any real+generated gains 12.5 points" in verdict
    assert "any real+generated is 17.5 points below any real+retrieved" in control
    assert accuracy.startswith("any real+generated averaged 47.5 %")
    assert "any real+generated gains 11.0 points" in robustness
    assert means == "All are means over 2 architectures."
    uneven = replace(grouped.summary, groups=grouped.summary.groups | {"any real": ("real",)})
    assert (
        answer(replace(grouped, summary=uneven)).sentences[-1] == "All are means over the architectures of each group."
    )
    assert any("averaged over architectures" in note for note in limits(grouped, list_metrics()))


def test_arms_with_references_of_their_own_are_told_against_these(grouped: StudyRecord) -> None:
    alone = replace(grouped.summary, groups={})
    assert "over real (" in answer(replace(grouped, summary=alone)).sentences[0]
    second = ("real, b", "real+generated, b")
    only = replace(alone, arms=second)
    of_second = tuple(arm for arm in grouped.arms if arm.name in second)
    told = answer(replace(grouped, summary=only, arms=of_second)).sentences[0]
    assert "real+generated, b gains 12.5 points" in told
    none = replace(only, references={arm: arm for arm in second})
    (told,) = answer(replace(grouped, summary=none, arms=of_second)).sentences
    assert told == "The study compares none of its arms with another."


def test_csv_and_json_hold_the_groups(grouped: StudyRecord) -> None:
    summary = grouped.summary
    assert summary_from_json(json.loads(json.dumps(summary_to_json(summary, list_metrics())))) == summary
    rows = [row for row in csv.DictReader(io.StringIO(summary_to_csv(summary, list_metrics()))) if row["group"]]
    metrics = {(r["group"], r["minus"], r["test_set"], r["metric"]): float(r["value"]) for r in rows}
    assert all(row["arm"] == row["seed"] == "" for row in rows)
    assert metrics["any real+generated", "", "solid", "er"] == 9
    assert metrics["any real+generated", "any real", MEAN_OF_SHIFTS, "er"] == 11
    assert len(metrics) == len(rows) == 3 * (5 + 3) + 2 * (5 + 3) + 5  # the last are of any two groups


def test_the_terminal_shows_groups_in_the_place_of_their_arms(grouped: StudyRecord, shown) -> None:
    summary = grouped.summary
    table = " ".join(shown(summary).split())
    assert "any ┃ any" in table and "real, b" not in table
    assert "robustness on solid" in table and "shifts minus any" in table and "means over its arms" in table
    alone = shown(replace(summary, groups=dict(list(summary.groups.items())[:2])), 160)  # two arms are in no group
    assert "real+retrieved," in alone and "minus each arm's reference" in " ".join(alone.split())


def row_of(table: Table, trained_on: str) -> list[float | None]:
    return next([e.value for e in entries] for name, entries in table.rows if name == f"{trained_on} ({PAPER})")


@pytest.fixture
def four() -> Table:
    """Of effective robustness, on the paper's four sets and a fifth that is left out of the mean."""
    kinds = dict.fromkeys(SHIFTS, "shift") | {MEAN_OF_SHIFTS: "mean", "a": "out"}
    columns = tuple(Column(name, "", kind) for name, kind in kinds.items())
    return Table(columns, (("mixed", tuple(Entry(1.0, "+1.0") for _ in columns)),))


def test_the_paper_s_metrics_stand_beside_its_own_sets(four: Table) -> None:
    table = with_paper(four, KINDS, SHIFTS)
    assert table.rows[0] == four.rows[0] and len(table.rows) == 3
    assert row_of(table, "generated") == [9.1, 37.8, 45.3, 49.9, 35.6, None]
    assert row_of(table, "real+generated") == [0.5, 14.9, 16.7, 2.3, 8.6, None]


def test_the_paper_s_mean_stands_only_beside_a_mean_of_its_four_sets(four: Table) -> None:
    moved = replace(four, columns=tuple(replace(c, kind="shift") if c.name == "a" else c for c in four.columns))
    assert row_of(with_paper(moved, KINDS, (*SHIFTS, "a")), "generated") == [9.1, 37.8, 45.3, 49.9, None, None]
    fewer = Table(four.columns[1:], (("mixed", four.rows[0][1][1:]),))
    assert row_of(with_paper(four, KINDS, SHIFTS[1:]), "generated") == [9.1, 37.8, 45.3, 49.9, None, None]
    assert row_of(with_paper(fewer, KINDS, SHIFTS[1:]), "generated") == [37.8, 45.3, 49.9, None, None]
    assert with_paper(four, {"v2": "folders", "a": "imagenet-a"}, SHIFTS) == four


def test_only_a_study_of_imagenet_s_sets_shows_the_paper(grouped: StudyRecord) -> None:
    assert "2302.02503" not in html(ReportView(grouped))
    imagenet = ReportView(replace(grouped, kinds={"solid": "imagenet-sketch"}))
    assert "real+generated (Bansal and Grover, 2023, arXiv 2302.02503)" in html(imagenet).replace("<wbr>", "")
    assert "14.9" in markdown(imagenet) and "its own models and evaluation" in markdown(imagenet)
