"""Which claims of a study hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from genrobust.core import MEAN_OF_SHIFTS, Claim, Score, StudyRecord
from genrobust.report.wording import EN_DASH, EXTRAPOLATED, number, span
from genrobust.robustness import Figure, figure_called

CLAIM_HEADS = ("claim", "difference of", "in", "measured", "p, corrected", "here")
LEVEL = 0.05  # of the chance that any claim that holds here holds by chance alone


@dataclass(frozen=True, slots=True)
class CheckedClaim:
    """A claim, the difference measured (None: there is no such score), and whether it holds, in words.

    `p` is corrected for the number of the study's claims.
    """

    claim: Claim
    figure: Figure
    score: Score | None
    p: float | None
    outcome: str


def check_claims(record: StudyRecord) -> list[CheckedClaim]:
    """Check every claim of the study.

    One holds or is contradicted where the difference is none with a probability below LEVEL, corrected for the number
    of claims (Holm, 1979). What extrapolates a line decides nothing.

    Raises:
        UserError: A claim about an unknown figure.
    """
    scores = [record.summary.find(c.figure, c.arm, c.test_set, minus=c.than) for c in record.claims]
    corrected = iter(holm([score.p for score in scores if score is not None and score.p is not None]))
    found = []
    for claim, score in zip(record.claims, scores, strict=True):
        figure = figure_called(claim.figure)
        p = None if score is None or score.p is None else next(corrected)
        found.append(CheckedClaim(claim, figure, score, p, _outcome(score, p, figure)))
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number, each in its place (Holm, 1979)."""
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def _outcome(score: Score | None, p: float | None, figure: Figure) -> str:
    if score is None or p is None:
        return "not measured"
    if p >= LEVEL or score.extrapolated:
        return "undecided"
    return "holds" if (score.value > 0) is figure.higher_is_better else "contradicted"


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
            mark = EXTRAPOLATED if score.extrapolated else ""
            measured = f"{value}{mark} {figure.difference_unit} ({interval})"
        chance = EN_DASH if checked.p is None else _chance(checked.p)
        pair = f"{claim.arm} minus {claim.than}"
        rows.append([says, pair, f"{figure.title}, {where}", measured, chance, checked.outcome])
    return rows


def _chance(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
