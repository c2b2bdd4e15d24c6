"""The written report: self-contained, escaped, complete, the same every time, and never half written."""
# ruff: noqa: RUF001 - the report writes true minus signs and en dashes

import base64
import hashlib
import json
import math
import re
from dataclasses import replace

import pytest
from html_page import EVIL, Page
from small_record import summary_from_json

from genrobust.core.errors import UserError
from genrobust.core.scores import MEAN_OF_SHIFTS
from genrobust.report.renderers.report_html import html
from genrobust.report.renderers.report_markdown import markdown
from genrobust.report.report_files import write_report
from genrobust.report.report_view import ReportView
from genrobust.report.sections.gallery import OPEN_CLASSES
from genrobust.store.files import LOCK, MANIFEST


def test_four_files_are_written_and_named(record, tmp_path):
    paths = write_report(ReportView(record), tmp_path / "new" / "folder")
    assert list(paths)[:5] == ["report.html", "report.md", "results.csv", "results.json", "figure-1-accuracy.svg"]
    assert all(path.stat().st_size > 500 and path.name == name for name, path in paths.items())
    there = {path.name for path in paths["report.html"].parent.iterdir()}
    assert there - {LOCK, MANIFEST} == set(paths)
    found = json.loads(paths["results.json"].read_text())
    assert summary_from_json(found["summary"]) == record.summary
    assert found["command"] == record.command


def test_the_same_record_gives_the_same_bytes(record, tmp_path):
    first, second = write_report(ReportView(record), tmp_path / "a"), write_report(ReportView(record), tmp_path / "b")
    assert all(first[name].read_bytes() == second[name].read_bytes() for name in first)


def test_the_page_loads_nothing_and_runs_no_script_but_its_own(record):
    page = Page(html(ReportView(record)))
    urls = [v for _, attributes in page.elements for k, v in attributes.items() if k in {"src", "href", "srcset"}]
    assert all(url.startswith(("data:image/png;base64,", "#")) for url in urls)
    assert "@import" not in html(ReportView(record)) and "url(" not in html(ReportView(record))
    assert not page.all("link") and not page.all("iframe")
    (script,) = page.scripts
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    sha256 = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'") and f"script-src 'sha256-{sha256}'" in policy


def test_names_from_outside_are_text_and_never_markup(record, picture):
    calm = Page(html(ReportView(replace(record, pictures=(picture(), picture())))))
    evil = replace(
        record,
        title=EVIL,
        question=EVIL,
        command=EVIL,
        recipe_yaml=EVIL,
        date=EVIL,
        notes=(EVIL,),
        environment={EVIL: EVIL},
        stages=tuple(replace(s, stage=EVIL, unit=EVIL) for s in record.stages),
        arms=tuple(replace(a, architecture=EVIL, augmentation=EVIL) for a in record.arms),
        pictures=(picture(EVIL, EVIL, EVIL, caption=EVIL), picture(EVIL, EVIL, EVIL)),
        missed=tuple(replace(p, class_name=EVIL, predicted=EVIL, key=EVIL) for p in record.missed),
        class_names=(EVIL, EVIL, EVIL),
        baselines=tuple(replace(b, model=EVIL) for b in record.baselines),
    )
    text = html(ReportView(evil))
    page = Page(text)
    assert len(page.scripts) == len(page.all("script")) == 1
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
    assert page.text.count(EVIL) >= 12  # as it was written: neither run, nor cut, nor filled in
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in calm.elements}


def test_the_page_holds_the_answer_every_metric_and_how_to_run_it_again(record):
    page = Page(html(ReportView(record)))
    text = page.text.replace("\u00a0", " ")
    for part in ("gains 12.5 points", "89.6", "+12.0", "genrobust run pictograms-full", "seeds: [0, 1, 2]"):
        assert part in text
    assert "9 models" not in text, "which were found done"
    for part in (
        "5,000 images, 21.6/s",
        "3 min 51 s",
        "found done",
        "The generator saw no test image.",
        "resnet10t",
        "cpu",
    ):
        assert part in text
    panels = [drawn["aria-label"] for _, drawn in page.elements if drawn.get("role") == "img"]
    assert len(panels) == 4
    assert all(text in panels[1] for text in ("real+generated: clean 89.6 %", "(68.0–72.0)", "robustness +9.0"))
    assert len([circle for circle in page.all("circle") if circle["class"] == "baseline"]) == 16 + 1  # in the legend


def test_the_page_is_accessible(record):
    page = Page(html(ReportView(record)))
    assert page.all("html") == [{"lang": "en"}]
    assert all(th.get("scope") in {"col", "row", "rowgroup"} for th in page.all("th")) and page.all("th")
    assert all(img.get("alt") and img.get("loading") == "lazy" for img in page.all("img"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"] for a in page.all("a")} <= {f"#{i}" for i in ids}


def test_pictures_lie_by_class_and_origin_and_many_classes_are_folded(record, picture):
    page = Page(html(ReportView(replace(record, missed=()))))
    assert [img["alt"] for img in page.all("img")] == [
        "real camera, solid",
        "generated camera, solid",
        "real crane bird, emoji",
        "generated crane bird, solid",
    ]
    png = base64.b64decode(page.all("img")[0]["src"].removeprefix("data:image/png;base64,"))
    assert png == record.pictures[0].data
    many = html(ReportView(replace(record, pictures=tuple(picture(f"class {i}") for i in range(OPEN_CLASSES + 2)))))
    assert "2 more classes" in many and many.count('<article class="class"') == OPEN_CLASSES + 2


def test_mistakes_of_an_arm_are_folded_below_those_of_all(record):
    section = ReportView(record).sections["missed"]
    assert [test for test, _, _ in section.values["of_all"]] == ["solid"]
    of_all, of_arm = html(ReportView(record)).split("<summary>generated: its most confident mistakes</summary>")
    assert "75\N{NO-BREAK SPACE}%" in of_all and "99\N{NO-BREAK SPACE}%" not in of_all
    assert "99\N{NO-BREAK SPACE}%" in of_arm and "75\N{NO-BREAK SPACE}%" not in of_arm


def test_any_two_arms_are_a_matrix_of_three_or_more(record):
    view = ReportView(record)
    (matrix,) = view.sections["pairs"].tables
    assert [entry.text for entry in matrix.rows[2][1]] == ["+30.0", "+17.5", ""]
    text = Page(html(view)).text
    assert all(entry.text in text for _, entries in matrix.rows for entry in entries)
    two = replace(record, summary=replace(record.summary, arms=record.summary.arms[:2]))
    assert "pairs" not in ReportView(two).sections  # which the differences show


def test_gains_by_class_are_those_of_the_answer_and_classes_without_images_are_none(record):
    view = ReportView(record)
    found = view.sections["classes"].values
    rows = [(name, *(entry.value for entry in entries[:2])) for name, entries in found["table"].rows]
    assert rows == [("crane bird", 300, 60), ("camera", 200, -10)]
    assert "better on 1 of 2" in found["sentence"] and "worse on 1." in found["sentence"]
    assert found["sentence"] in Page(html(view)).text
    unknown = replace(record, summary=replace(record.summary, class_reports={}))
    assert "classes" not in ReportView(unknown).sections


def test_a_group_gains_the_mean_of_its_arms_by_class(grouped):
    table = ReportView(grouped).sections["classes"].values["table"]
    assert "any real+generated over any real " in table.caption
    assert [entries[1].value for _, entries in table.rows] == [60, -10]


@pytest.mark.parametrize("arms", [("real",), ("real", "real+generated")])
@pytest.mark.parametrize("shifts", [(), ("solid",)])
def test_small_studies_make_whole_pages(record, arms, shifts):
    def kept(key):
        mean = key.test_set == MEAN_OF_SHIFTS
        return key.arm in arms and (not mean or bool(shifts)) and not (key.seed and key.seed > 0)

    scores = {key: score for key, score in record.summary.scores.items() if kept(key)}
    small = replace(record.summary, arms=arms, seeds=(0,), shifts=shifts, left_out={}, lines={}, scores=scores)
    found = replace(record, summary=small, arms=record.arms[: len(arms)], baselines=(), pictures=())
    assert len(Page(html(ReportView(found))).scripts) == 1 and markdown(ReportView(found)).startswith("# Do generated")


def test_a_record_without_optional_parts_makes_a_page_without_them(record):
    top1_alone = {key: score for key, score in record.summary.scores.items() if key.metric == "top1"}
    bare = replace(record.summary, lines={}, scores=top1_alone, seeds=(0,))
    view = ReportView(
        replace(record, summary=bare, pictures=(), missed=(), stages=(), environment={}, baselines=(), question="")
    )
    page = Page(html(view))
    assert page.text.count("Run three seeds") == 1
    assert "Shifted against clean" in page.text and "Shifted against clean" not in markdown(view)  # which are plots
    assert "No effective robustness" in page.text and "Further metrics" not in page.text
    assert not page.all("img")


def test_markdown_tables_are_whole_whatever_a_name_holds(record, tmp_path):
    evil = replace(record, environment={EVIL: "a|b"}, recipe_yaml="a: ```\nb: ~~~~\n", title=EVIL)
    text = write_report(ReportView(evil), tmp_path)["report.md"].read_text()
    tables = [line for line in text.splitlines() if line.startswith("|")]
    columns = [len(re.findall(r"(?<!\\)\|", line)) - 1 for line in tables]
    # further, top-1, robustness and any two arms, differences in it, lines, training, times, environment
    assert set(columns) == {7, 6, 4, 5, 8, 11, 3, 2}
    assert "\\<script\\>" in text and "<script>" not in text
    assert "````yaml\na: ```" in text
    assert "**89.6**" not in text and "**91.0** (89.0–93.0)" in text


def test_a_record_that_cannot_be_written_leaves_the_last_report_as_it_was(record, tmp_path):
    paths = write_report(ReportView(record), tmp_path)
    before = {path: path.read_bytes() for path in paths.values()}
    model = replace(record.baselines[0], clean=math.nan)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_report(ReportView(replace(record, baselines=(*record.baselines, model))), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.name not in (LOCK, MANIFEST)} == before


def test_a_folder_that_is_a_file_is_refused(record, tmp_path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(UserError, match="taken"):
        write_report(ReportView(record), tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"
