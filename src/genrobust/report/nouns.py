"""The nouns of a report's view: tables, plots, sections. Each renderer shows them, and computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genrobust.report.wording import EN_DASH

CHARACTER = 6.5  # SVG units: the mean width of one at 11 px, for names that nothing measures


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading.

    Attributes:
        note: Its size ("412 images, 58 classes").
        kind: clean, shift, mean, out (a shift that is left out of the mean), gain (the mean minus that of the
            reference), pair (another arm), words, or "".
    """

    name: str
    note: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A cell of a table: a score as shown, or a text.

    Attributes:
        value: Sorts it; None where there is none.
        interval: Of the score, or, where that is over few groups of images and says little, the range of these.
        best: Marks the best of the column.
        sure: Whether a difference's interval excludes zero; None where it is no difference.
        extrapolated: Marks an effective robustness beyond the fitted range.
    """

    value: float | None
    text: str = EN_DASH
    interval: str = ""
    method: str = ""
    best: bool = False
    sure: bool | None = None
    extrapolated: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table: `rows` pairs a name with one Entry a column.

    Attributes:
        caption: Names what it shows, with its unit.
        head: Heads the names of the rows.
        minus: By the name of a row, what its differences subtract, where that is not the same for all.
        plain: Its rows are no arms, its cells are texts, and no heading sorts it (see `plain_table`).
        folded: A page shows it when one opens it.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, tuple[Entry, ...]], ...]
    caption: str = ""
    head: str = "arm"
    minus: Mapping[str, str] = field(default_factory=dict)
    plain: bool = False
    folded: bool = False


def plain_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", words: Sequence[int] = ()
) -> Table:
    """Return a table of texts.

    Args:
        heads: Of all columns; the first one names the rows.
        words: The indices of columns that hold words, which a page aligns to the left.
    """
    columns = tuple(Column(head, kind="words" if i in words else "") for i, head in enumerate(heads) if i)
    cells = tuple((name, tuple(Entry(None, text) for text in texts)) for name, *texts in rows)
    return Table(columns, cells, caption, heads[0], plain=True)


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot as data, which a macro of plots.svg.j2 draws.

    Attributes:
        macro: The macro, which draws each of `parts`, one below the other, between which a page may break.
        parts: The arguments of the macro, places of marks, ticks and lines, each with the height of what it draws.
        box: Where the axes lie, in SVG units.
        stretches: A page draws it as wide as itself: places across are in percent of what is between left and right.
        legend: Pairs names with the arms whose looks they have.
        keys: What else is drawn that needs a legend: "baseline", "line", "diagonal".
        note: Stands beside the title.
        description: Says in words what it shows.
        heading: The title on a page, where that differs.
    """

    title: str
    macro: str
    parts: Sequence[tuple[int, tuple[Any, ...]]]
    box: Mapping[str, int]
    legend: Sequence[tuple[str, str]] = ()
    keys: Sequence[str] = ()
    note: str = ""
    description: str = ""
    heading: str = ""
    stretches: bool = False

    @property
    def height(self) -> int:
        """The height of all parts."""
        return sum(height for height, _ in self.parts)

    @property
    def text_width(self) -> float:
        """The width of its longest line."""
        lines = [f"{self.title}  {self.note}", *(name for name, _ in self.legend)]
        return CHARACTER * max(map(len, lines))


@dataclass(frozen=True, slots=True)
class ReportSection:
    """A section of a report.

    Attributes:
        title: Its heading.
        order: Its place: sections stand from the lowest to the highest.
        label: Its title in the list of contents, where that is shorter.
        lead: How to read it, on the page.
        tables, plots, items, code: What it shows: tables, plots, a list of sentences, and code, each with its language.
        note: Stands below these.
        template: Jinja for the page, in place of what shows all of these there. It reads `section`, `view`, `values`
            and the macros of macros.html.j2, and every value that it shows is escaped.
        values: What the template alone shows.
    """

    title: str
    order: int
    label: str = ""
    lead: str = ""
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    items: Sequence[str] = ()
    code: Sequence[tuple[str, str]] = ()
    note: str = ""
    template: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


def template_beside(module: str) -> str:
    """Return the template of a section, from the file NAME.html.j2 beside its `module`, NAME.py."""
    return Path(module).with_suffix(".html.j2").read_text(encoding="utf-8")
