"""The section on groups of arms in every form of the report, and the paper's metrics where they belong."""

import csv
import io
from dataclasses import replace

from genrobust.core.scores import MEAN_OF_SHIFTS
from genrobust.core.study_record import StudyRecord
from genrobust.report.answer import find_answer
from genrobust.report.renderers.report_html import html
from genrobust.report.renderers.report_markdown import markdown
from genrobust.report.renderers.scores_csv import summary_to_csv
from genrobust.report.report_section import Table
from genrobust.report.report_view import ReportView
from genrobust.report.sections.group_averages import averages
from genrobust.report.sections.how_to_read import limits
from genrobust.robustness import list_metrics


def text(table: Table, row: int) -> list[str]:
    return [entry.text for entry in table.rows[row][1]]


def test_a_study_without_groups_shows_nothing_new(record: StudyRecord) -> None:
    assert averages(ReportView(record)) is None
    assert "Averaged over" not in html(ReportView(record)) and "Averaged over" not in markdown(ReportView(record))
    assert not any("of a group" in note for note in limits(record, list_metrics()))
    assert all(
        row["group"] == "" for row in csv.DictReader(io.StringIO(summary_to_csv(record.summary, list_metrics())))
    )


def test_a_group_has_a_row_in_each_table(grouped: StudyRecord) -> None:
    found = averages(ReportView(grouped))
    assert found is not None
    robustness, accuracy, gains_in_robustness, gains = found.tables
    assert found.title == "Averaged over architectures"
    assert [c.name for c in robustness.columns] == [MEAN_OF_SHIFTS, "solid", "emoji"]
    assert [name for name, _ in robustness.rows] == ["any real", "any real+generated", "any real+retrieved"]
    assert text(robustness, 1) == ["+10.5", "+9.0", "+12.0"]
    assert [entry.best for entry in robustness.rows[2][1]] == [False, True, False]  # no best of what extrapolates
    assert [entry.extrapolated for entry in robustness.rows[1][1]] == [True, False, True]
    assert text(accuracy, 1) == ["47.5", "84.6", "65.0", "30.0", "50.0"]
    assert [name for name, _ in gains_in_robustness.rows] == ["any real+generated", "any real+retrieved"]
    assert text(gains_in_robustness, 0)[0] == "+11.0" and gains_in_robustness.rows[0][1][0].sure
    assert text(gains, 0)[0] == "+12.5"


def test_groups_whose_arms_share_an_architecture_average_over_arms(grouped: StudyRecord) -> None:
    same = replace(grouped, arms=tuple(replace(arm, architecture="resnet10t") for arm in grouped.arms))
    assert "Averaged over arms" in html(ReportView(same))
    assert "means over 2 arms" in find_answer(same).sentences[-1]


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
    assert {lane.arm for lane, _ in ReportView(grouped).headline.rows} == set(grouped.summary.groups)
    assert "any real: real; real, b" in html(ReportView(grouped))


def test_a_group_that_is_compared_with_an_arm_of_another_has_it_beside(grouped: StudyRecord) -> None:
    """As where the recipe gives all arms one reference: then that of a group is no group."""
    summary = grouped.summary
    others = dict.fromkeys(("any real+generated", "any real+retrieved"), "real")
    scores = {
        key._replace(minus="real") if key.minus == "any real" else key: score for key, score in summary.scores.items()
    }
    told = replace(grouped, summary=replace(summary, references=summary.references | others, scores=scores))
    view = ReportView(told)
    assert {lane.arm for lane, _ in view.headline.rows} == {*summary.groups, "real"}
    assert html(view).count("<small>reference</small>") == 1 and "minus that of real," in markdown(view)


def test_the_answer_is_about_groups_and_says_so(grouped: StudyRecord) -> None:
    verdict, control, accuracy, robustness, means = find_answer(grouped).sentences
    for sentence, figure in ((verdict, "12.5"), (control, "17.5"), (accuracy, "47.5"), (robustness, "11.0")):
        assert "any real+generated" in sentence and figure in sentence
    assert "below any real+retrieved" in control
    assert "means over 2 architectures" in means
    uneven = replace(grouped.summary, groups=grouped.summary.groups | {"any real": ("real",)})
    assert "of each group" in find_answer(replace(grouped, summary=uneven)).sentences[-1]
    assert any("Averages over architectures" in note for note in limits(grouped, list_metrics()))
