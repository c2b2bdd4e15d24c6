"""WiSE-FT curves in a report: each arm's points joined in their order, beside the baselines, and in tables."""

from __future__ import annotations

import json
from dataclasses import replace

from small_record import summary_from_json

from genrobust.core.study_record import Curve
from genrobust.report.renderers.report_html import html
from genrobust.report.renderers.report_markdown import markdown
from genrobust.report.renderers.results_json import results_to_json
from genrobust.report.report_view import ReportView
from genrobust.report.sections.wise_ft_curves import HEAD, curves


def curved(record, arm="fine <tuned>"):
    return replace(record, curves=(Curve(arm, record.summary),))


def test_points_are_joined_in_their_order_at_the_accuracies_of_the_plots(record):
    section = curves(ReportView(curved(record)))
    shifts = [*record.summary.shifts, *record.summary.left_out]
    assert [plot.title for plot in section.plots] == [f"fine <tuned>, {shift}" for shift in shifts]
    for plot in section.plots:
        ((_, (_, panel, *_)),) = plot.parts
        means = [mark for mark in panel["marks"] if mark.mean]
        assert [mark.arm for mark in means] == list(record.summary.arms)
        assert panel["path"] == "M" + "L".join(f"{mark.x} {mark.y}" for mark in means)
    assert [arm for arm, _ in section.tables[0].rows] == list(record.summary.arms)


def test_the_report_has_them_where_there_are_some(record):
    page = html(ReportView(curved(record)))
    assert "fine &lt;tuned&gt;" in page and "fine <tuned>" not in page
    assert page.count('class="curve"') == len(record.summary.shifts) + len(record.summary.left_out)
    assert 'href="#curves"' in page and HEAD in page
    assert "fine \\<tuned\\>: Top-1 accuracy, percent:" in markdown(ReportView(curved(record)))
    (found,) = json.loads(json.dumps(results_to_json(ReportView(curved(record)))))["curves"]
    assert found["arm"] == "fine <tuned>" and summary_from_json(found) == record.summary
    for text in (html(ReportView(record)), markdown(ReportView(record))):
        assert "WiSE-FT" not in text
