"""Accuracy on classes in styles that training images lack: a table for each set of training images."""
# ruff: noqa: RUF001 - the report writes true minus signs and en dashes

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from genrobust.core.scores import Score, ScoreKey
from genrobust.core.study_record import Cells, StudyRecord
from genrobust.report.report_files import write_report
from genrobust.report.report_view import ReportView
from genrobust.report.sections.missing_styles import NAMED, cells

HAS, LACKS = "cells that real has", "cells that real lacks"


def test_each_arm_has_its_accuracy_where_the_training_images_lack_a_class_and_where_not(
    record: StudyRecord, tmp_path: Path
) -> None:
    scores = {}
    for subset, of_arms in ((LACKS, {"real": 10.0, "real+generated": 30.0}), (HAS, {"real": 50.0})):
        scores |= {ScoreKey("top1", arm, subset): Score(v, v - 2, v + 2, 90, 6, "") for arm, v in of_arms.items()}
    scores[ScoreKey("top1", "real+generated", LACKS, minus="real")] = Score(20, 15, 25, 90, 6, "", p=0.001)
    summary = replace(
        record.summary,
        scores=record.summary.scores | scores,
        subsets={LACKS: {"solid": 60, "emoji": 30}, HAS: {"solid": 240, "emoji": 170}},
        references={"real+retrieved": "real+generated"},
    )
    found = Cells(("real", "real again"), HAS, LACKS, tuple((f"class {i}", "solid", 9) for i in range(NAMED + 2)))
    told = replace(record, summary=summary, cells=(found,))
    section = cells(ReportView(told))
    assert section is not None and cells(ReportView(record)) is None
    (table,) = section.tables
    assert [column.note for column in table.columns[::2]] == ["90 images, 2 sets", "410 images, 2 sets"]
    rows = {arm: [(entry.text, entry.interval) for entry in entries] for arm, entries in table.rows}
    assert rows["real+generated"][:2] == [("30.0", "28.0–32.0"), ("+20.0", "+15.0 to +25.0")]
    assert rows["real"][2] == ("50.0", "48.0–52.0") and rows["real+retrieved"][0] == ("–", "")
    assert not table.minus, "its rows are accuracies, too"
    assert all(part in section.items[0] for part in ("real; real again: ", "class 0 in solid (9), ", "and 2 more"))
    files = write_report(ReportView(told), tmp_path)
    assert all("Classes that lack a style" in files[name].read_text() for name in ("report.html", "report.md"))
    assert json.loads(files["results.json"].read_text())["cells"][0]["absent"] == LACKS
