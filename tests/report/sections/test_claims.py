"""What the images are like and which claims hold: the rows, and where they stand in every form of the report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from genrobust.core.scores import MEAN_OF_SHIFTS, Score, ScoreKey
from genrobust.core.study_record import Claim, SourceQuality, StudyRecord
from genrobust.report.report_files import write_report
from genrobust.report.report_view import ReportView
from genrobust.report.sections.claims import CLAIM_HEADS, claims
from genrobust.report.sections.image_quality import QUALITY_HEADS, quality_rows
from genrobust.report.wording import EN_DASH
from genrobust.robustness import check_claims

GENERATED = SourceQuality("generated", 5600, 2800, 0.1234, 0.0256, 0.5, 0.25, 12.4, 0.81, 6.789, 31.25, 0.9)
REAL = SourceQuality("real", 1800, 1319, None, None, None, None, 12.4, 0.6, 5.0, 33.0, 0.95)


def claim(arm: str, than: str, **more: str) -> Claim:
    return Claim("a <claim>", arm, than, **{"metric": "top1", "test_set": MEAN_OF_SHIFTS, "source": "a paper", **more})


@pytest.fixture
def asked(record: StudyRecord) -> StudyRecord:
    unsure = ScoreKey("top1", "real+generated", "test", minus="real+retrieved")
    scores = {unsure: Score(-1.4, -3.0, 0.2, 400, 6, "bootstrap", p=0.09)}
    real, generated, retrieved = record.arms
    return replace(
        record,
        summary=replace(record.summary, scores=record.summary.scores | scores),
        arms=(real, replace(generated, parts={"generated": 5600}), retrieved),
        qualities=(REAL, GENERATED),
        claims=(
            claim("real+generated", "real"),
            claim("real+generated", "real", test_set="pixel", metric="er"),
            claim("real+generated", "real+retrieved", test_set="test"),
        ),
    )


def rows_of(record: StudyRecord) -> list[list[str]]:
    section = claims(ReportView(record))
    assert section is not None
    return [[name, *(entry.text for entry in entries)] for name, entries in section.tables[0].rows]


def test_rows_of_qualities_have_the_accuracy_of_who_trained_on_that_source_alone(asked: StudyRecord) -> None:
    real, generated = quality_rows(asked)
    assert len(real) == len(generated) == len(QUALITY_HEADS)
    words = f"generated|5,600|89.6 (87.6{EN_DASH}91.6)|0.123|25.6|50|25|0.810|6.79|31.2|90"
    assert "|".join(generated) == words
    assert real[2] == f"90.0 (88.0{EN_DASH}92.0)" and real[3:7] == [EN_DASH] * 4


OUTCOMES = ["holds", "not measured", "undecided"]


def test_a_claim_holds_only_where_the_interval_says_so(asked: StudyRecord) -> None:
    assert [checked.outcome for checked in check_claims(asked.summary, asked.claims)] == OUTCOMES
    rows = rows_of(asked)
    assert {len(row) for row in rows} == {len(CLAIM_HEADS)}
    assert rows[0][:2] == ["a <claim> (a paper)", "real+generated minus real"]
    assert rows[0][2:] == ["Top-1 accuracy, mean of shifts", "+12.5 points (+10.5 to +14.5)", "< 0.001", "holds"]


def test_claims_of_fewer_than_three_seeds_are_exploratory(asked: StudyRecord) -> None:
    few = replace(asked, summary=replace(asked.summary, seeds=(0, 1)))
    outcomes = ["exploratory", "not measured", "exploratory"]
    assert [checked.outcome for checked in check_claims(few.summary, few.claims)] == outcomes
    section, usual = claims(ReportView(few)), claims(ReportView(asked))
    assert section is not None and usual is not None
    assert "exploratory" in section.lead and "exploratory" not in usual.lead


def test_a_claim_about_what_extrapolates_is_undecided_and_marked(asked: StudyRecord) -> None:
    of_top1 = ScoreKey("top1", "real+generated", MEAN_OF_SHIFTS, minus="real")
    sure = asked.summary.scores[of_top1]
    scores = {**asked.summary.scores, of_top1: replace(sure, extrapolated=True)}
    told = replace(asked, summary=replace(asked.summary, scores=scores))
    assert check_claims(told.summary, told.claims)[0].outcome == "undecided"
    assert rows_of(told)[0][3].startswith("+12.5° points")


def test_every_form_of_the_report_tells_of_both(asked: StudyRecord, tmp_path: Path) -> None:
    files = write_report(ReportView(asked), tmp_path)
    page, text = files["report.html"].read_text(), files["report.md"].read_text()
    assert "Which claims hold" in page and "a &lt;claim&gt;" in page and "a <claim>" not in page
    assert "What the images are like" in page and f"89.6 (87.6{EN_DASH}91.6)" in page
    assert "## Which claims hold" in text and "## What the images are like" in text
    facts = json.loads(files["results.json"].read_text())
    assert [c["here"] for c in facts["claims"]] == OUTCOMES
    assert facts["claims"][0]["difference"]["value"] == 12.5 and facts["claims"][1]["difference"] is None
    assert facts["qualities"][1]["vendi"] == 6.789
