"""The section on claims: which of them hold."""

from __future__ import annotations

from genrobust.core import MEAN_OF_SHIFTS, Summary
from genrobust.report.report_section import ReportSection, plain_table
from genrobust.report.report_view import SECTIONS, ReportView
from genrobust.report.wording import EN_DASH, EXTRAPOLATED, number, span
from genrobust.robustness import EXPLORATORY, CheckedClaim

CLAIM_HEADS = ("claim", "difference of", "in", "measured", "p, corrected", "here")
# Smaller p-values are shown as below it.
LEAST_P = 0.001


@SECTIONS.register("claims")
def claims(view: ReportView) -> ReportSection | None:
    """Return a row for each claim of the study."""
    if not view.claims:
        return None
    lead = (
        "A claim holds, or is contradicted, if its interval excludes zero and chance would give such a difference in "
        "less than 1 of 20 studies like this. p is corrected for the number of claims (Holm, 1979)."
    )
    if any(claim.claim.equivalent for claim in view.claims):
        lead += (
            " A claim of equivalence (\u00b1) holds if its interval is within the margin, and is contradicted if its "
            "interval is outside. If the interval is wider than the margin allows, the study is too weak to tell."
        )
    if any(checked.outcome == EXPLORATORY for checked in view.claims):
        lead += f" With fewer than three training seeds it is {EXPLORATORY}: it neither holds nor is contradicted."
    rows = [_row(checked, view.summary) for checked in view.claims]
    return ReportSection(
        title="Which claims hold",
        order=110,
        label="Claims",
        lead=lead,
        tables=[plain_table(CLAIM_HEADS, rows, "Claims and the differences measured", words=(1, 2, 4))],
    )


def _row(checked: CheckedClaim, summary: Summary) -> list[str]:
    """Return the cells of one claim, in the order of `CLAIM_HEADS`."""
    claim = checked.claim
    text = f"{claim.says} ({claim.source})" if claim.source else claim.says
    if claim.test_set == MEAN_OF_SHIFTS:
        where = summary.leading
    else:
        where = claim.test_set
    pair = f"{claim.arm} minus {claim.than}"
    if claim.equivalent is not None:
        pair += f" within \u00b1{claim.equivalent:g}"
    measured = f"{checked.metric.title}, {where}"
    return [text, pair, measured, _difference_in_words(checked), _p_in_words(checked.p), checked.outcome]


def _difference_in_words(checked: CheckedClaim) -> str:
    score, metric = checked.score, checked.metric
    if score is None:
        return EN_DASH
    mark = EXTRAPOLATED if score.extrapolated else ""
    value = f"{number(score.value, True, metric.digits)}{mark} {metric.difference_unit}"
    return f"{value} ({span(score, True, metric.digits)})"


def _p_in_words(p: float | None) -> str:
    if p is None:
        return EN_DASH
    if p < LEAST_P:
        return f"< {LEAST_P}"
    return f"{p:.3f}"
