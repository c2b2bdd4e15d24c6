"""A section of a report, with its tables and plots as data. Renderers show them and compute nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genrobust.report.wording import EN_DASH

# The mean width of a character at 11 px in SVG units, for names that nothing measures.
CHARACTER = 6.5


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading.

    Attributes:
        note: Its size ("412 images, 58 classes").
        kind: clean, shift, mean, out (a shift that is left out of the mean), gain (the mean minus the mean of the
            reference), pair (another arm), words, or "".
    """

    name: str
    note: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A cell of a table: a score as shown, or a text.

    Attributes:
        value: Sorts it; None without a value.
        interval: The interval of the score. If that is over few groups of images and says little, the range of these.
        best: Whether it is the best of the column.
        sure: Whether a difference's interval excludes zero; None if it is no difference.
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
    """A table.

    Attributes:
        rows: Names, each with one entry per column.
        caption: Its content, with the unit.
        head: The heading of the names of rows.
        minus: By the name of a row, the arm that its differences subtract, if that is not the same for all rows.
        plain: Rows are no arms, cells are texts, and headings do not sort (see `plain_table`).
        folded: A page shows it after a click.
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
        heads: The headings of all columns. The first one heads the names of rows.
        words: The indices of columns with words, which a page aligns to the left.
    """
    columns = []
    for i, head in enumerate(heads[1:], 1):
        columns.append(Column(head, kind="words" if i in words else ""))
    cells = []
    for name, *texts in rows:
        cells.append((name, tuple(Entry(None, text) for text in texts)))
    return Table(tuple(columns), tuple(cells), caption, heads[0], plain=True)


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot as data, which a macro of plots.svg.j2 draws.

    Attributes:
        macro: The macro. It draws each of `parts`, one below the other; a page may break between them.
        parts: The height of each part with the arguments of the macro: positions of marks, ticks and lines.
        box: The ends of the axes, in SVG units.
        stretches: A page draws it over its whole width: horizontal positions are percents of the width between left
            and right.
        legend: Names, each with the arm whose color and shape it has.
        keys: Further entries of the legend: "baseline", "line", "diagonal".
        note: A note after the title.
        description: Its content in words.
        heading: The title on a page, if it differs.
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
        """The height of all parts, in SVG units."""
        return sum(height for height, _ in self.parts)

    @property
    def text_width(self) -> float:
        """The width of its longest line, in SVG units."""
        lines = [f"{self.title}  {self.note}", *(name for name, _ in self.legend)]
        return CHARACTER * max(map(len, lines))


@dataclass(frozen=True, slots=True)
class ReportSection:
    """A section of a report.

    Attributes:
        title: Its heading.
        order: Its rank: the section with the lowest one comes first.
        label: A shorter title for the list of contents.
        lead: How to read it, on the page.
        items: A list of sentences.
        code: Blocks of code, each after its language.
        note: A text below all others.
        template: Jinja for the page, instead of the macro that shows all of these. It may use `section`, `view`,
            `values` and the macros of macros.html.j2. Every value is escaped.
        values: Values for the template alone.
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


def template_of(module: str) -> str:
    """Return the template of a section, from the file NAME.html.j2 next to its `module`, NAME.py."""
    return Path(module).with_suffix(".html.j2").read_text(encoding="utf-8")
