"""The report of a study on disk: one HTML file that needs no network, Markdown, CSV and JSON."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from genrobust.core import Picture, StudyRecord, UserError, page_json, write_files
from genrobust.report.answering import answer, answer_arm, warnings
from genrobust.report.averages import averages
from genrobust.report.claims import CLAIM_HEADS, claim_rows
from genrobust.report.class_gains import class_gains
from genrobust.report.costs import arm_time, cost_plot
from genrobust.report.curves import HEAD, drawn_curves
from genrobust.report.groups import with_group_means
from genrobust.report.latex import latex_files
from genrobust.report.markdown import markdown
from genrobust.report.page import Thumbnail, data_uri, own_script, render, unbroken
from genrobust.report.pairs import pairs
from genrobust.report.plots import PLOT_BOX, dot_plot, looks, scatter
from genrobust.report.quality import QUALITY_HEADS, quality_note, quality_rows
from genrobust.report.results import REPORT, RESULTS, record_to_json, summary_to_csv
from genrobust.report.svg import svg_files
from genrobust.report.tables import further_tables, main_differences, main_tables
from genrobust.report.wording import (
    WIDE,
    compared_with,
    count,
    is_wide,
    limits,
    made_by_rows,
    marks,
    references,
    row_name,
    shifts_in_mean,
    subtracted,
)
from genrobust.robustness import figure_called

OPEN_CLASSES = 6  # classes of the gallery that are shown before one asks for more
FORMATS: Mapping[str, Callable[[StudyRecord], Mapping[str, str]]] = {  # and the files that each adds to a report
    "html": lambda record: {},  # which every report has
    "latex": latex_files,
    "svg": svg_files,
}


def write_report(record: StudyRecord, folder: Path, formats: Collection[str] = ()) -> dict[str, Path]:
    """Write report.html, report.md, results.csv and results.json into `folder`; returns their paths by name.

    `formats` adds tables.tex ("latex") and a file for each plot ("svg").

    They replace the report of the same recipe with the same scores; any other is kept in ``earlier``, under its
    date. Everything that came from outside is escaped: a class may be called ``<script>``.

    Raises:
        GenrobustError: The disk fails.
        UserError: The folder cannot be written.
    """
    facts = record_to_json(record)
    contents: dict[str, str | bytes] = {
        REPORT: study_html(record),
        "report.md": markdown(record),
        "results.csv": summary_to_csv(record.summary),
        RESULTS: page_json(facts),
    }
    for form in formats:
        contents |= FORMATS[form](record)
    return write_files(contents, folder, [facts["recipe"], facts["summary"], facts.get("curves")])


def check_report_formats(formats: Iterable[str]) -> None:
    """Raise UserError if one of `formats` is none that reports are written in."""
    if unknown := [form for form in formats if form not in FORMATS]:
        raise UserError(
            f"--format {unknown[0]}: choose one of {', '.join(FORMATS)}; Inkscape and others make a PDF of an SVG"
        )


def study_html(record: StudyRecord) -> str:
    """Return the report as one HTML page. Its policy lets nothing load from anywhere, and no script run but its own."""
    summary = record.summary
    return render(
        "report.html.j2",
        record=record,
        summary=summary,
        named=partial(row_name, summary),
        row_marks=marks(summary),
        unmarked=any(row_name(summary, arm) == arm for arm in summary.arms),
        **_tables(record),
        looks=looks(summary),
        answer=answer(record),
        warnings=warnings(record),
        by_class=class_gains(record, answer_arm(record)),
        wide=WIDE,
        limits=limits(record),
        curves=drawn_curves(record),
        curve_head=HEAD,
        claims=claim_rows(record),
        claim_heads=CLAIM_HEADS,
        qualities=quality_rows(record),
        quality_heads=QUALITY_HEADS,
        quality_note=quality_note(record) if record.qualities else "",
        scatter=scatter(record),
        costs=cost_plot(record),
        arm_time=arm_time,
        made_by=made_by_rows(record),
        box=PLOT_BOX,
        **_pictures(record.pictures),
        missed=_missed(record),
        sources=list(dict.fromkeys(source for arm in record.arms for source in arm.parts)),
        **own_script(),
    )


def _tables(record: StudyRecord) -> dict[str, Any]:
    summary = record.summary
    overview = with_group_means(summary)  # what the page shows first
    main = main_tables(summary)
    accuracy, over = main.pop("top1"), shifts_in_mean(overview, figure_called("er"))
    return {
        "accuracy": accuracy,
        "dots": dot_plot(summary, accuracy),
        "robustness": list(main.values()),
        "differences": list(main_differences(summary).values()),
        "further": list(further_tables(summary).values()),
        "averages": averages(record),
        "overview": overview,
        "pairs": pairs(overview),
        "robustness_of": {arm: er for arm in overview.arms if (er := overview.find("er", arm)) and not is_wide(er)},
        "robustness_sets": count(len(over), "shift") if len(over) < len(summary.shifts) else "",
        "references": references(overview),
        "against": compared_with(summary),
        "subtracted": subtracted(summary),
    }


def _pictures(pictures: Sequence[Picture]) -> dict[str, Any]:
    classes = pictures_by_class(pictures)
    return {
        "gallery": (classes[:OPEN_CLASSES], classes[OPEN_CLASSES:]),
        "origins": list(dict.fromkeys(p.origin for p in pictures)),
        "styles": list(dict.fromkeys(p.style for p in pictures if p.style)),
    }


def _missed(record: StudyRecord) -> list[tuple[str, int, list[Thumbnail]]]:
    """Return the images that every classifier gets wrong, by test set, with how many there are in it."""
    missed: dict[str, list[Thumbnail]] = {}
    for p in record.missed:
        caption = f"{p.test_set}: {p.key}"
        picture = Thumbnail(data_uri(p.data), caption, unbroken(f"{p.class_name}, taken for {p.predicted}"))
        missed.setdefault(p.test_set, []).append(picture)
    return [(test, record.summary.missed_counts[test], images) for test, images in missed.items()]


def pictures_by_class(pictures: Sequence[Picture]) -> list[tuple[str, dict[str, list[Thumbnail]]]]:
    """Return the pictures by class and origin, in the order given."""
    by_class: dict[str, dict[str, list[Thumbnail]]] = {}
    for p in pictures:
        alt = f"{p.origin} {p.class_name}" + (f", {p.style}" if p.style else "")
        picture = Thumbnail(data_uri(p.data), alt, p.caption, p.style)
        by_class.setdefault(p.class_name, {}).setdefault(p.origin, []).append(picture)
    return list(by_class.items())
