"""Claims of a study, checked against the differences that were measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from genrobust.core import Claim, Score, Summary
from genrobust.robustness.metric import Metric, find_metric

# The largest probability that any claim holds by chance alone.
LEVEL = 0.05
# Two seeds say too little about how much trainings differ.
MIN_SEEDS = 3
NOT_MEASURED = "not measured"
EXPLORATORY = "exploratory"
# The interval is wider than the margin of equivalence, so no result could have shown equivalence.
TOO_WEAK = "too weak to tell"


@dataclass(frozen=True, slots=True)
class CheckedClaim:
    """A claim, the measured difference, and the outcome in words.

    Attributes:
        score: None if the difference was not measured.
        p: The p-value, corrected for the number of claims. None for a claim of equivalence.
        outcome: "holds", "contradicted", "undecided", `TOO_WEAK`, `NOT_MEASURED` or `EXPLORATORY`.
    """

    claim: Claim
    metric: Metric
    score: Score | None
    p: float | None
    outcome: str


def check_claims(summary: Summary, claims: Sequence[Claim]) -> list[CheckedClaim]:
    """Check `claims` against the scores of `summary`.

    A claim holds or is contradicted if its interval excludes zero and its p-value, corrected for the number of claims
    (Holm, 1979), is below `LEVEL`. A claim of equivalence holds if its interval is within the margin, and is
    contradicted if its interval is outside; the number of claims does not matter. A score that extrapolates a baseline
    line, or is over too few groups for an interval, decides nothing. With fewer than `MIN_SEEDS` training seeds every
    measured claim is exploratory.

    Raises:
        UserError: A claim about an unknown metric.
    """
    scores = [summary.difference(claim.metric, claim.arm, claim.than, claim.test_set) for claim in claims]
    p_values: dict[int, float] = {}
    for index, (claim, score) in enumerate(zip(claims, scores, strict=True)):
        if claim.equivalent is None and score is not None and score.p is not None:
            p_values[index] = score.p
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    checked = []
    for index, (claim, score) in enumerate(zip(claims, scores, strict=True)):
        metric = find_metric(claim.metric)
        p = corrected.get(index)
        if claim.equivalent is None:
            outcome = _outcome(score, p, metric)
        else:
            outcome = _outcome_of_equivalence(score, claim.equivalent)
        if outcome != NOT_MEASURED and len(summary.seeds) < MIN_SEEDS:
            outcome = EXPLORATORY
        checked.append(CheckedClaim(claim, metric, score, p, outcome))
    return checked


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number (Holm, 1979). Keeps their order."""
    count = len(p_values)
    corrected = [0.0] * count
    highest = 0.0
    for rank, index in enumerate(sorted(range(count), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (count - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def _outcome(score: Score | None, p: float | None, metric: Metric) -> str:
    if score is None or p is None:
        return NOT_MEASURED
    if _decides_nothing(score) or p >= LEVEL or score.lo <= 0 <= score.hi:
        return "undecided"
    is_better = (score.value > 0) is metric.higher_is_better
    return "holds" if is_better else "contradicted"


def _decides_nothing(score: Score) -> bool:
    return score.extrapolated or not score.has_interval


def _outcome_of_equivalence(score: Score | None, margin: float) -> str:
    if score is None:
        return NOT_MEASURED
    if _decides_nothing(score):
        return "undecided"
    if -margin <= score.lo and score.hi <= margin:
        return "holds"
    if score.lo > margin or score.hi < -margin:
        return "contradicted"
    if score.hi - score.lo > 2 * margin:
        return TOO_WEAK
    return "undecided"
