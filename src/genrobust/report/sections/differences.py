"""The section on differences: each arm minus its reference."""

from __future__ import annotations

from statistics import median

from genrobust.core import Summary
from genrobust.report.report_section import ReportSection
from genrobust.report.report_view import SECTIONS, ReportView
from genrobust.report.wording import compared_with, number

# A difference of so many standard errors has an interval of 95 % without zero in 80 % of studies (1.96 + 0.84), as a
# multiple of half of that interval (1.96 standard errors).
DETECTED = (1.96 + 0.84) / 1.96


@SECTIONS.register("differences")
def differences(view: ReportView) -> ReportSection | None:
    """Return the differences in the main metrics. None if nothing is compared."""
    if not view.differences:
        return None
    return ReportSection(
        title=f"Differences from {compared_with(view.summary)}",
        order=50,
        label="Differences",
        lead="Paired by image and seed, in points. In all tables, a difference is gray if its interval includes zero: "
        "it may be chance.",
        tables=list(view.differences.values()),
        note=_describe_detectable(view.summary),
    )


def _describe_detectable(summary: Summary) -> str:
    """Say how large a difference must be to be found, by the widths of the measured intervals; "" if none is known."""
    widths = []
    for arm in summary.arms:
        score = summary.difference("top1", arm, summary.reference_of(arm), summary.leading)
        if score is not None and score.has_interval:
            widths.append(score.hi - score.lo)
    if not widths:
        return ""
    size = number(DETECTED * median(widths) / 2)
    return (
        f"With these images and seeds, a true difference of {size} points, {summary.leading}, would be found in four "
        "of five studies: its interval would exclude zero. Smaller ones often look like chance."
    )
