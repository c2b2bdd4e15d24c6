"""Which claims of a study hold."""

from __future__ import annotations

from dataclasses import dataclass

from genrobust.core import MEAN_OF_SHIFTS, Claim, Score, StudyRecord
from genrobust.report.wording import EN_DASH, number, span
from genrobust.robustness import Figure, figure_called

CLAIM_HEADS = ("claim", "difference of", "in", "measured", "here")


@dataclass(frozen=True, slots=True)
class CheckedClaim:
    """A claim, the difference measured (None: there is no such score), and whether it holds, in words."""

    claim: Claim
    figure: Figure
    score: Score | None
    outcome: str


def check_claims(record: StudyRecord) -> list[CheckedClaim]:
    """Check every claim of the study: it holds or is contradicted where the interval of the difference excludes zero.

    Raises:
        UserError: A claim about an unknown figure.
    """
    found = []
    for claim in record.claims:
        figure = figure_called(claim.figure)
        score = record.summary.find(claim.figure, claim.arm, claim.test_set, minus=claim.than)
        found.append(CheckedClaim(claim, figure, score, _outcome(score, figure)))
    return found


def _outcome(score: Score | None, figure: Figure) -> str:
    if score is None:
        return "not measured"
    if score.lo <= 0 <= score.hi:
        return "undecided"
    return "holds" if (score.lo > 0) is figure.higher_is_better else "contradicted"


def claim_rows(record: StudyRecord) -> list[list[str]]:
    """Return one row of `CLAIM_HEADS` a claim."""
    rows = []
    for checked in check_claims(record):
        claim, figure, score = checked.claim, checked.figure, checked.score
        says = f"{claim.says} ({claim.source})" if claim.source else claim.says
        where = "mean of the shifts" if claim.test_set == MEAN_OF_SHIFTS else claim.test_set
        measured = EN_DASH
        if score is not None:
            value, interval = number(score.value, True, figure.digits), span(score, True, figure.digits)
            measured = f"{value} {figure.difference_unit} ({interval})"
        rows.append([says, f"{claim.arm} minus {claim.than}", f"{figure.title}, {where}", measured, checked.outcome])
    return rows
