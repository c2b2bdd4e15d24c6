"""The section on claims: which of them hold."""

from __future__ import annotations

from genrobust.core import MEAN_OF_SHIFTS
from genrobust.report.nouns import ReportSection, plain_table
from genrobust.report.view import SECTIONS, ReportView
from genrobust.report.wording import EN_DASH, EXTRAPOLATED, number, span
from genrobust.robustness import EXPLORATORY

CLAIM_HEADS = ("claim", "difference of", "in", "measured", "p, corrected", "here")


@SECTIONS.register("claims")
def claims(view: ReportView) -> ReportSection | None:
    """Return a row for each claim of the study."""
    rows = []
    for checked in view.claims:
        claim, metric, score = checked.claim, checked.metric, checked.score
        says = f"{claim.says} ({claim.source})" if claim.source else claim.says
        where = "mean of the shifts" if claim.test_set == MEAN_OF_SHIFTS else claim.test_set
        measured = EN_DASH
        if score is not None:
            value, interval = number(score.value, True, metric.digits), span(score, True, metric.digits)
            mark = EXTRAPOLATED if score.extrapolated else ""
            measured = f"{value}{mark} {metric.difference_unit} ({interval})"
        chance = EN_DASH if checked.p is None else "< 0.001" if checked.p < 0.001 else f"{checked.p:.3f}"
        pair = f"{claim.arm} minus {claim.than}"
        rows.append([says, pair, f"{metric.title}, {where}", measured, chance, checked.outcome])
    if not rows:
        return None
    is_exploratory = any(checked.outcome == EXPLORATORY for checked in view.claims)
    few = f" With fewer than three training seeds it is {EXPLORATORY}: it neither holds nor is contradicted."
    return ReportSection(
        title="Which claims hold",
        order=110,
        label="Claims",
        lead="A claim holds, or is contradicted, where its interval excludes zero and such a difference would come by "
        "chance in less than 1 of 20 studies like this; p is corrected for the number of claims (Holm, 1979)."
        f"{few if is_exploratory else ''}",
        tables=[plain_table(CLAIM_HEADS, rows, "Claims and the differences measured", words=(1, 2, 4))],
    )
