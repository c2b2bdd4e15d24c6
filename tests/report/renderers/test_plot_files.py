"""The plots for papers: what the page draws, as files that need nothing else."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace

import resvg_py

from genrobust.core import StudyRecord, Summary
from genrobust.core.study_record import Curve
from genrobust.report.renderers.plot_files import svg_files
from genrobust.report.renderers.report_html import html
from genrobust.report.report_view import ReportView

EVIL = "</text><script>alert(1)</script>\" onload='x' {{ 7*7 }} \x1b &amp;"
SVG = "{http://www.w3.org/2000/svg}"


def labels(svg: str) -> list[str]:
    """What the marks of a plot say, and the plot's own title first."""
    return [str(title.text) for title in ET.fromstring(svg).iter(f"{SVG}title")]


def test_there_is_a_file_for_each_plot_of_the_page_with_the_same_marks(record: StudyRecord) -> None:
    timed = tuple(replace(arm, seconds={"train": 60.0 * i}) for i, arm in enumerate(record.arms, 1))
    of_points = replace(record.summary, arms=record.summary.arms[:2], references={})
    record = replace(record, arms=timed, curves=(Curve("real, fine-tuned", of_points),))
    files, page = svg_files(ReportView(record)), html(ReportView(record))
    names = ["1-accuracy", "2-solid", "3-emoji", "4-pixel"]
    names += [f"{n}-real-fine-tuned-{test}" for n, test in enumerate(("solid", "emoji", "pixel"), 5)]
    assert list(files) == [f"figure-{name}.svg" for name in (*names, "8-cost")]
    for svg in files.values():
        for label in labels(svg)[1:]:
            assert label in page, label
    assert len(labels(files["figure-1-accuracy.svg"])) == 1 + 3 * 5
    assert "real: 90.0 % (88.0\u201392.0)" in labels(files["figure-1-accuracy.svg"])
    for path in re.findall(r'<path class="(?:fitted|band|whisker)"[^>]*>', files["figure-2-solid.svg"])[:5]:
        assert path in page


def test_a_file_needs_nothing_else_and_other_programs_draw_it(grouped: StudyRecord) -> None:
    for svg in svg_files(ReportView(grouped)).values():
        assert not re.search(r"var\(|url\(|@import|href|<script", svg)
        png = bytes(resvg_py.svg_to_bytes(svg_string=svg))
        assert png.startswith(b"\x89PNG") and len(png) > 2000
        assert all(name in svg for name in grouped.summary.arms)  # the legend


def test_names_are_text(record: StudyRecord, renamed: Callable[[str], Summary]) -> None:
    models = tuple(
        replace(b, model=EVIL, test_set=b.test_set.replace("solid", EVIL + "solid")) for b in record.baselines
    )
    arms = tuple(replace(a, name=a.name.replace("real+generated", EVIL + "real+generated")) for a in record.arms)
    evil = replace(record, summary=renamed(EVIL), arms=arms, title=EVIL, baselines=models, missed=())
    files = svg_files(ReportView(evil))
    assert len(files) == 4 and all(re.fullmatch(r"figure-\d-[\w-]+\.svg", name) for name in files)
    for svg in files.values():
        root = ET.fromstring(svg)
        assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
            *("svg", "title", "desc", "style", "rect", "text", "tspan", "g", "path", "circle", "line")
        }
        assert not [name for element in root.iter() for name in element.attrib if name.startswith("on")]
        assert any(EVIL.replace("\x1b", r"\x1b") in str(element.text) for element in root.iter())
