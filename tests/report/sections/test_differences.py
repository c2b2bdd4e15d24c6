"""The section on differences says how small a difference the study can find."""

from dataclasses import replace

import pytest

from genrobust.report import ReportView


def with_width(record, width):
    """The record with an interval of this width around each difference in accuracy."""
    summary = record.summary
    scores = {}
    for key, score in summary.scores.items():
        is_difference = key.metric == "top1" and key.minus
        scores[key] = replace(score, lo=score.value - width / 2, hi=score.value + width / 2) if is_difference else score
    return replace(record, summary=replace(summary, scores=scores))


@pytest.mark.parametrize(("width", "size"), [(7.0, "5.0"), (1.4, "1.0")])
def test_the_difference_that_can_be_found_follows_from_the_intervals(record, width, size):
    note = ReportView(with_width(record, width)).sections["differences"].note
    assert f" {size} points" in note and record.summary.leading in note
