"""The report compares estimates for images without labels."""

from __future__ import annotations

from dataclasses import replace

from genrobust.core import EstimatorErrors, UnlabeledSet
from genrobust.report.sections.unlabeled import LEADING, describe_best

ERRORS = EstimatorErrors(LEADING, "title", "note", 2, True, 5.0, 9.0, 0, 0)


def described(summary, estimates, differing=None):
    found = UnlabeledSet("site", 100, {LEADING: estimates}, {}, differing or {})
    return describe_best(found, ERRORS, summary)


def test_the_best_arm_is_compared_with_its_own_reference(record):
    summary = replace(record.summary, references={"real+generated": "generated"})
    estimates = {"real": 50.0, "generated": 58.0, "real+generated": 60.0}
    said = described(summary, estimates, {"real+generated": 0.02})
    assert "generated has 58.0 %" in said
    assert "the estimates differ by 2.0 points, the predictions on 2.0 % of the images" in said


def test_no_arm_is_called_better_than_a_reference_with_the_same_estimate(record):
    said = described(record.summary, {"generated": 50.0, "real": 50.0})
    assert "the highest estimate is real" in said and "better" not in said
