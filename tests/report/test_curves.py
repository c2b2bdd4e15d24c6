"""WiSE-FT curves in a report: each arm's points joined in their order, beside the baselines, and in tables."""

from __future__ import annotations

import json
from dataclasses import replace

from genrobust.core.record import Curve
from genrobust.report.curves import HEAD, drawn_curves
from genrobust.report.markdown import markdown
from genrobust.report.results import record_to_json, summary_from_json
from genrobust.report.write import study_html


def curved(record, arm="fine <tuned>"):
    return replace(record, curves=(Curve(arm, record.summary),))


def test_points_are_joined_in_their_order_at_the_accuracies_of_the_plots(record):
    (curve,) = drawn_curves(curved(record))
    assert [panel["name"] for panel in curve.plot["panels"]] == [*record.summary.shifts, *record.summary.left_out]
    for panel in curve.plot["panels"]:
        means = [mark for mark in panel["marks"] if mark.mean]
        assert [mark.arm for mark in means] == list(record.summary.arms)
        assert panel["path"] == "M" + "L".join(f"{mark.x} {mark.y}" for mark in means)
    assert [arm for arm, _ in curve.tables[0].rows] == list(record.summary.arms)


def test_the_report_has_them_where_there_are_some(record):
    page = study_html(curved(record))
    assert "fine &lt;tuned&gt;" in page and "fine <tuned>" not in page
    assert page.count('class="curve"') == len(record.summary.shifts) + len(record.summary.left_out)
    assert 'href="#curves"' in page and HEAD in page
    assert "## WiSE-FT: fine \\<tuned\\>" in markdown(curved(record))
    (found,) = json.loads(json.dumps(record_to_json(curved(record))))["curves"]
    assert found["arm"] == "fine <tuned>" and summary_from_json(found) == record.summary
    for text in (study_html(record), markdown(record)):
        assert "WiSE-FT" not in text
    assert "curves" not in record_to_json(record)
