"""Which claims of a study hold, in words."""

from __future__ import annotations

from genrobust.core import MEAN_OF_SHIFTS, StudyRecord
from genrobust.report.wording import EN_DASH, EXTRAPOLATED, number, span
from genrobust.robustness import check_claims

CLAIM_HEADS = ("claim", "difference of", "in", "measured", "p, corrected", "here")


def claim_rows(record: StudyRecord) -> list[list[str]]:
    """Return one row of `CLAIM_HEADS` a claim."""
    rows = []
    for checked in check_claims(record.summary, record.claims):
        claim, figure, score = checked.claim, checked.figure, checked.score
        says = f"{claim.says} ({claim.source})" if claim.source else claim.says
        where = "mean of the shifts" if claim.test_set == MEAN_OF_SHIFTS else claim.test_set
        measured = EN_DASH
        if score is not None:
            value, interval = number(score.value, True, figure.digits), span(score, True, figure.digits)
            mark = EXTRAPOLATED if score.extrapolated else ""
            measured = f"{value}{mark} {figure.difference_unit} ({interval})"
        chance = EN_DASH if checked.p is None else _chance(checked.p)
        pair = f"{claim.arm} minus {claim.than}"
        rows.append([says, pair, f"{figure.title}, {where}", measured, chance, checked.outcome])
    return rows


def _chance(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
