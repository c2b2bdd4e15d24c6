"""The view of a study in a notebook."""

from __future__ import annotations

from pathlib import Path

from genrobust.recipe import Recipe
from genrobust.report.nouns import Column, Entry, Table
from genrobust.report.page import render
from genrobust.report.results import REPORT


def show_study(title: str, recipe: Recipe, out: Path) -> str:
    """Return what the arms of `recipe` train on, and where its report will be in `out`."""
    columns = tuple(Column(name, "", "") for name in ("trained on", "of its own", "compared with"))
    rows = []
    for arm in recipe.arms:
        own = ", ".join(f"{key}: {value}" for key, value in arm.train.items())
        other = recipe.references()[arm.name]
        cells = (" + ".join(part.source for part in arm.mixture), own, "" if other == arm.name else other)
        rows.append((arm.name, tuple(Entry(None, text) for text in cells)))
    note = f"run() writes {out / recipe.name / REPORT}"
    tables = [Table(columns, tuple(rows), recipe.question or recipe.title)]
    return render("notebook.html.j2", title=title, tables=tables, names={}, notes=[note])
