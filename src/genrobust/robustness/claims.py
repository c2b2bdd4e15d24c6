"""Which claims hold, by the differences that were measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from genrobust.core import Claim, Score, Summary
from genrobust.robustness.metric import Metric, find_metric

LEVEL = 0.05  # of the chance that any claim that holds here holds by chance alone
NOT_MEASURED, EXPLORATORY = "not measured", "exploratory"
SEEDS = 3  # that a claim takes: two say too little about how much trainings differ


@dataclass(frozen=True, slots=True)
class CheckedClaim:
    """A claim, the difference measured (None: there is no such score), and whether it holds, in words.

    `p` is corrected for the number of claims.
    """

    claim: Claim
    metric: Metric
    score: Score | None
    p: float | None
    outcome: str


def check_claims(summary: Summary, claims: Sequence[Claim]) -> list[CheckedClaim]:
    """Check `claims` about what `summary` measured.

    One holds or is contradicted where its interval excludes zero, and the difference is none with a probability below
    LEVEL, corrected for the number of claims (Holm, 1979). What extrapolates a line decides nothing. With fewer than
    `SEEDS` training seeds every claim that was measured is exploratory.

    Raises:
        UserError: A claim about an unknown metric.
    """
    scores = [summary.difference(c.metric, c.arm, c.than, c.test_set) for c in claims]
    corrected = iter(holm([score.p for score in scores if score is not None and score.p is not None]))
    checked = []
    for claim, score in zip(claims, scores, strict=True):
        metric = find_metric(claim.metric)
        p = None if score is None or score.p is None else next(corrected)
        outcome = _outcome(score, p, metric)
        if outcome != NOT_MEASURED and len(summary.seeds) < SEEDS:
            outcome = EXPLORATORY
        checked.append(CheckedClaim(claim, metric, score, p, outcome))
    return checked


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number, in their order (Holm, 1979)."""
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def _outcome(score: Score | None, p: float | None, metric: Metric) -> str:
    if score is None or p is None:
        return NOT_MEASURED
    if p >= LEVEL or score.lo <= 0 <= score.hi or score.extrapolated:
        return "undecided"
    return "holds" if (score.value > 0) is metric.higher_is_better else "contradicted"
