"""Claims against known differences: what holds by its interval and by its p-value among many."""

from __future__ import annotations

from dataclasses import replace

import pytest

from genrobust.core import MEAN_OF_SHIFTS, Claim, Score, ScoreKey, StudyRecord, Summary
from genrobust.robustness import check_claims
from genrobust.robustness.claim_checks import MIN_SEEDS, holm


def claim(arm: str, than: str, metric: str = "top1", test_set: str = MEAN_OF_SHIFTS) -> Claim:
    return Claim("a claim", arm, than, metric, test_set, "")


@pytest.mark.parametrize(
    ("metric", "lo", "hi", "p", "outcome"),
    [
        ("top1", 1, 3, 0.01, "holds"),
        ("top1", -3, -1, 0.01, "contradicted"),
        ("nll", -3, -1, 0.01, "holds"),
        ("nll", 1, 3, 0.01, "contradicted"),
        ("ece", -1, 3, 0.3, "undecided"),
        ("top1", -0.1, 4, 0.04, "undecided"),  # which no table shows as a sure difference
        ("top1", 0.1, 4, 0.06, "undecided"),
    ],
)
def test_better_is_lower_for_some_metrics(
    record: StudyRecord, metric: str, lo: float, hi: float, p: float, outcome: str
) -> None:
    scores = {ScoreKey(metric, "real+generated", "test", minus="real"): Score((lo + hi) / 2, lo, hi, 400, 6, "", p=p)}
    asked = replace(
        record,
        summary=replace(record.summary, scores=record.summary.scores | scores),
        claims=(claim("real+generated", "real", test_set="test", metric=metric),),
    )
    assert [checked.outcome for checked in check_claims(asked.summary, asked.claims)] == [outcome]


@pytest.mark.parametrize(
    ("lo", "hi", "outcome"),
    [
        (-2, 2, "holds"),
        (0.5, 1.5, "holds"),
        (-2.1, 1, "undecided"),
        (-1, 2.1, "undecided"),
        (-2.5, 2, "too weak to tell"),
        (2.1, 3, "contradicted"),
        (-3, -2.1, "contradicted"),
    ],
)
def test_equivalence_holds_within_its_margin_whatever_else_is_claimed(
    record: StudyRecord, lo: float, hi: float, outcome: str
) -> None:
    key = ScoreKey("top1", "real+generated", "test", minus="real")
    summary = replace(record.summary, scores={key: Score((lo + hi) / 2, lo, hi, 400, 6, "", p=0.04)})
    same = replace(claim("real+generated", "real", test_set="test"), equivalent=2.0)
    other = claim("real+generated", "real", test_set="test")
    checked = check_claims(summary, [same, other])
    assert (checked[0].outcome, checked[0].p) == (outcome, None)
    assert checked[1].p == 0.04


def test_a_claim_names_its_arms_in_either_order(summary: Summary) -> None:
    """A difference is measured in one of both."""
    pair = ("real+generated", "real")
    one, other = (check_claims(summary, [claim(*arms)])[0] for arms in (pair, pair[::-1]))
    assert (one.outcome, other.outcome) == ("holds", "contradicted") and one.p == other.p


def test_p_values_are_corrected_for_their_number() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # as in Holm's paper
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([0.02, 0.03]) == pytest.approx([0.04, 0.04])  # the larger one is not below the smaller one
    assert holm([]) == []


def test_a_claim_that_its_own_interval_supports_falls_among_many(record: StudyRecord) -> None:
    key = ScoreKey("top1", "real+generated", "test", minus="real")
    scores = {key: Score(2, 0.1, 3.9, 400, 6, "", p=0.04)}
    scores |= {key._replace(test_set=test): Score(1, -1, 3, 400, 6, "", p=0.3) for test in record.summary.shifts}
    claims = tuple(claim("real+generated", "real", test_set=k.test_set) for k in scores)
    asked = replace(record, summary=replace(record.summary, scores=record.summary.scores | scores), claims=claims)
    first = replace(asked, claims=claims[:1])
    assert check_claims(first.summary, first.claims)[0].outcome == "holds"
    assert check_claims(asked.summary, asked.claims)[0].outcome == "undecided"


def test_an_interval_over_few_groups_that_no_table_shows_decides_no_claim(record: StudyRecord) -> None:
    key = ScoreKey("top1", "real+generated", "test", minus="real")
    same = replace(claim("real+generated", "real", test_set="test"), equivalent=2.0)
    better = claim("real+generated", "real", test_set="test")
    outcomes = {}
    for groups in (5, 8):
        score = Score(40, 5, 75, 400, 6, "", groups=groups, p=0.01)
        summary = replace(record.summary, scores={key: score})
        outcomes[groups] = [checked.outcome for checked in check_claims(summary, [better, same])]
    assert outcomes == {5: ["undecided", "undecided"], 8: ["holds", "contradicted"]}


@pytest.mark.parametrize("seeds", [1, MIN_SEEDS - 1, MIN_SEEDS])
def test_few_seeds_explore_and_a_score_that_is_missing_or_extrapolates_decides_nothing(
    summary: Summary, seeds: int
) -> None:
    claims = [claim("real+generated", "real"), claim("real+generated", "real", "er"), claim("real", "real", "ece")]
    key = ScoreKey("er", "real+generated", minus="real")
    scores = summary.scores | {key: replace(summary.scores[key], extrapolated=True)}
    checked = check_claims(replace(summary, seeds=tuple(range(seeds)), scores=scores), claims)
    usual, few = ["holds", "undecided", "not measured"], ["exploratory", "exploratory", "not measured"]
    assert [one.outcome for one in checked] == (few if seeds < MIN_SEEDS else usual)
    assert [one.p is None for one in checked] == [False, False, True]
    assert [one.metric.name for one in checked] == ["top1", "er", "ece"]
    without_p = replace(summary, scores=scores | {key: replace(scores[key], p=None)})
    assert check_claims(without_p, claims)[1].outcome == "not measured"
