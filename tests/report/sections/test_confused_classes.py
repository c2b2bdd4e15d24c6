"""Confused classes: the pairs of an arm, its matrix as a picture, and precision beside the gains by class."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from html_page import EVIL, Page
from PIL import Image
from small_record import summary_from_json

from genrobust.core.scores import ALL_SHIFTS, ClassReport, Confusion
from genrobust.core.study_record import StudyRecord
from genrobust.report.renderers.report_markdown import markdown
from genrobust.report.report_files import write_report
from genrobust.report.report_view import ReportView
from genrobust.report.sections.confused_classes import confusion

MATRIX = ((150.0, 0.0, 50.0), (0.0, 0.0, 0.0), (30.0, 0.0, 270.0))
PAIRS = (Confusion(0, 2, 0.25, 50), Confusion(2, 0, 0.1, 30))
REPORT = ClassReport((83.33, None, 84.38), (75.0, None, 90.0), PAIRS, MATRIX)


@pytest.fixture
def confused(record: StudyRecord) -> StudyRecord:
    reports = dict.fromkeys(record.summary.arms, REPORT)
    summary = replace(
        record.summary,
        class_reports={"test": reports, ALL_SHIFTS: reports},
        class_sizes=dict.fromkeys(("test", ALL_SHIFTS), (200, 0, 300)),
    )
    return replace(record, summary=summary)


def test_pairs_of_the_arms_of_the_answer_are_named_with_their_number_on_both_sides(confused: StudyRecord) -> None:
    section = confusion(ReportView(confused))
    assert section is not None
    assert [table.caption for table in section.tables] == ["real+generated", "real"]
    name, cells = section.tables[0].rows[0]
    row = ["camera → crane bird", "50", "25"]
    assert [name, *(cell.text for cell in cells)] == row * 2
    assert "camera → crane bird" in markdown(ReportView(confused))
    assert confusion(ReportView(replace(confused, summary=replace(confused.summary, class_reports={})))) is None


def test_a_matrix_is_a_small_picture_whose_rows_say_what_they_show(confused: StudyRecord, tmp_path: Path) -> None:
    files = write_report(ReportView(replace(confused, class_names=("camera", "crane", EVIL))), tmp_path)
    page = Page(files["report.html"].read_text())
    pictures = [image["href"] for image in page.all("image")]
    assert len(pictures) == 4 and "75 % right, 25 % " + EVIL in page.text and "crane: no images" in page.text
    image = Image.open(io.BytesIO(base64.b64decode(pictures[0].removeprefix("data:image/png;base64,"))))
    middle = (2 * np.arange(3) + 1) * image.width // 6
    pixels = np.array(image.convert("RGBA"))[np.ix_(middle, middle)]
    opacity = pixels[..., 3].astype(int)
    assert (opacity > 0).tolist() == [[value > 0 for value in row] for row in MATRIX]
    assert opacity[2, 2] > opacity[0, 0] > opacity[0, 2] > opacity[2, 0], "the more, the more opaque"
    assert (
        len({tuple(pixels[i, j, :3]) for i, j in ((0, 0), (2, 2))}) == 1
        and (pixels[0, 2, :3] != pixels[0, 0, :3]).any()
    )
    assert all(f">{percent}</text>" in files["report.html"].read_text() for percent in (75, 25, 10, 90))
    assert [name for name in files if "confusion" in name] and "<image" in files[list(files)[-1]].read_text()
    summary = summary_from_json(json.loads(files["results.json"].read_text())["summary"])
    assert summary.class_reports == confused.summary.class_reports
    assert summary.class_reports["test"]["real"].matrix is None, "which would be most of the file"


def test_precision_and_recall_stand_beside_the_gain_of_a_class(confused: StudyRecord) -> None:
    table = ReportView(confused).sections["classes"].values["table"]
    assert [column.name for column in table.columns[4:]] == [
        "precision on all shifts: real+generated",
        "precision on all shifts: real",
        "recall on test: real+generated",
        "recall on test: real",
        "precision on test: real+generated",
        "precision on test: real",
    ]
    name, entries = table.rows[0]
    assert (name, [entry.value for entry in entries[:2]]) == ("camera", [200, 0.0])
    assert [entry.value for entry in entries[2:]] == [75.0, 75.0, 83.33, 83.33, 75.0, 75.0, 83.33, 83.33]
