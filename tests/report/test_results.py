"""The figures as JSON, CSV, tables and on the terminal: nothing lost, nothing marked that is not so."""
# ruff: noqa: RUF001 - the report writes true minus signs and en dashes

import csv
import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from genrobust.core.errors import UserError
from genrobust.core.results import MEAN_OF_SHIFTS, MultiID, Plane
from genrobust.report.results import summary_from_json, summary_to_csv, summary_to_json
from genrobust.report.tables import accuracy_table, difference_table, robustness_table
from genrobust.report.terminal import final_table


def test_a_summary_survives_json(summary):
    plane = Plane("solid", ("test", "emoji"), "logit", (0.4, 0.5), -1.0, 0.9, 8, 0.1, (50.0, 30.0), (95.0, 80.0))
    gain = summary.arm_er["real", "solid"]
    multi = MultiID("emoji", {"solid": plane}, {("real", "solid"): gain}, {"real": gain}, (("real", "solid"),))
    for kept in (summary, replace(summary, multi_id=multi)):
        assert summary_from_json(json.loads(json.dumps(summary_to_json(kept)))) == kept


@pytest.mark.parametrize(
    "spoil",
    [
        lambda plain: plain.pop("cells"),
        lambda plain: plain["cells"][0].update(unknown=1),
        lambda plain: plain["arm_top1"].append({"arm": "real"}),
        lambda plain: plain.update(format=99),
        lambda plain: plain.update(mean_er=[1, 2]),
    ],
)
def test_json_of_another_shape_is_refused_with_what_to_do(summary, spoil):
    plain = json.loads(json.dumps(summary_to_json(summary)))
    spoil(plain)
    with pytest.raises(UserError, match="evaluate again"):
        summary_from_json(plain)


def test_the_csv_has_a_row_a_figure_and_numbers_that_read_back(summary):
    rows = list(csv.DictReader(io.StringIO(summary_to_csv(summary))))
    by_seed = [r for r in rows if r["seed"]]
    assert len(by_seed) == 36 * 3 + 18  # top1, top1_all and clean of each cell, er where there is a line
    means = [r for r in rows if not r["seed"] and not r["minus"]]
    assert len(means) == 12 + 3 + 6 + 3
    gains = {(r["arm"], r["test_set"], r["figure"]): float(r["value"]) for r in rows if r["minus"] == "real"}
    assert gains["real+generated", MEAN_OF_SHIFTS, "top1"] == 12.5
    assert len(gains) == len(summary.differences)
    assert {r["extrapolated"] for r in by_seed if r["figure"] == "er" and r["test_set"] == "emoji"} == {"True"}


def test_tables_put_the_clean_set_first_then_shifts_mean_and_what_is_left_out(summary):
    table = accuracy_table(summary)
    assert [(c.name, c.kind) for c in table.columns] == [
        ("test", "clean"),
        ("solid", "shift"),
        ("emoji", "shift"),
        (MEAN_OF_SHIFTS, "mean"),
        ("pixel", "out"),
    ]
    assert table.columns[2].note == "200 images, 3 classes"
    assert [entry.text for entry in table.rows[0][1]] == ["90.0", "60.0", "20.0", "40.0", "50.0"]


def test_the_best_of_a_column_and_its_equals_are_marked(summary):
    best = [[entry.best for entry in entries] for _, entries in accuracy_table(summary).rows]
    assert best == [[False] * 5, [False] * 5, [True] * 5]
    level = {**summary.arm_top1, ("real", "test"): replace(summary.arm_top1["real", "test"], value=91.04)}
    tied = accuracy_table(replace(summary, arm_top1=level))
    assert [entries[0].best for _, entries in tied.rows] == [True, False, True]


def test_effective_robustness_marks_what_extrapolates_and_shows_gaps_as_gaps(summary):
    table = robustness_table(summary)
    assert table is not None
    names = [c.name for c in table.columns]
    entries = dict(zip(names, table.rows[1][1], strict=True))
    assert (entries["solid"].text, entries["solid"].extrapolated) == ("+9.0", False)
    assert entries["emoji"].extrapolated and entries[MEAN_OF_SHIFTS].extrapolated
    assert (entries["pixel"].text, entries["pixel"].value) == ("–", None)
    assert robustness_table(replace(summary, lines={})) is None


def test_differences_are_sure_only_where_the_interval_excludes_zero(summary):
    table = difference_table(summary, "top1")
    assert table is not None
    assert [arm for arm, _ in table.rows] == ["real+generated", "real+retrieved"]
    assert [entry.sure for entry in table.rows[0][1]] == [False, True, True, True, True]
    assert difference_table(replace(summary, differences=()), "top1") is None


def test_the_terminal_table_fits_80_columns_and_shows_markup_as_it_is(summary):
    named = json.dumps(summary_to_json(summary)).replace("real+generated", "[red]mix[/red]")
    console = Console(width=80, file=io.StringIO())
    console.print(final_table(summary_from_json(json.loads(named))))
    shown = console.file.getvalue()
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80
    assert "[red]mix[/red]" in shown
    assert "pixel †" in shown and "+10.5 to +14.5" in shown and "3 seeds" in shown


def test_many_arms_are_rows_of_the_terminal_table(summary):
    copies = {f"arm {i}": "real+generated" for i in range(5)}
    first = {**dict(zip(summary.arms, summary.arms, strict=True)), **copies}
    many = replace(
        summary,
        arms=tuple(first),
        arm_top1={(a, t): summary.arm_top1[of, t] for a, of in first.items() for t in summary.protocols},
        mean_top1={a: summary.mean_top1[of] for a, of in first.items()},
        mean_er={a: summary.mean_er[of] for a, of in first.items()},
        differences=tuple(replace(d, arm=a) for a, of in first.items() for d in summary.differences if d.arm == of),
    )
    console = Console(width=110, file=io.StringIO())
    console.print(final_table(many))
    rows = [line for line in console.file.getvalue().splitlines() if line.startswith("│ arm ")]
    assert len(rows) == 5
    assert all("52.5" in row and "+12.5 (+10.5 to +14.5)" in row and "+10.5 (+8.5 to +12.5)" in row for row in rows)
