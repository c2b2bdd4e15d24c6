"""The view: all that a report of a study shows, computed once. Renderers show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from genrobust.core import Registry, StudyRecord, Summary
from genrobust.report.answering import Answer, answer
from genrobust.report.groups import with_group_means
from genrobust.report.nouns import Column, Entry, ReportSection, Table
from genrobust.report.plots import Lane, Look, lanes, looks, pictured
from genrobust.report.tables import dagger, main_differences, main_tables
from genrobust.report.wording import caveat, guessing, marks, number, references, row_name, without_looking
from genrobust.robustness import CheckedClaim, Metric, check_claims, list_metrics


@dataclass(frozen=True, slots=True)
class Headline:
    """The picture at the head of a page: each arm, or group, on the mean of the shifts, or on the clean set.

    Attributes:
        rows: Pairs the place of each arm that plots show with its entries in `columns`: the mean and the clean
            accuracy. `folded` are those of the other arms.
        ticks: Pairs a position, in percent of the axis, with its percents.
        guessing: The position of guesses.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Lane, tuple[Entry, ...]], ...]
    folded: tuple[tuple[Lane, tuple[Entry, ...]], ...]
    ticks: Sequence[tuple[float, int]]
    guessing: float | None


class ReportView:
    """All that a report of a study shows. Everything is computed at its first use, and once.

    Attributes:
        record: The study.
        summary: Its scores.
    """

    def __init__(self, record: StudyRecord) -> None:
        self.record, self.summary = record, record.summary

    @cached_property
    def metrics(self) -> list[Metric]:
        """Every metric, those with sections of their own first."""
        return list_metrics()

    @cached_property
    def overview(self) -> Summary:
        """The scores with groups in the place of their arms."""
        return with_group_means(self.summary)

    @cached_property
    def answer(self) -> Answer:
        """The answer in words, and the arm that it is about."""
        return answer(self.record)

    @cached_property
    def caveat(self) -> str:
        """The limits of the verdict: guessing, a rival augmentation, the seeds, and what networks started from."""
        sentences = [*self.answer.guessed, *self.answer.rival, caveat(self.summary), self.record.starts]
        return " ".join(filter(None, sentences))

    @cached_property
    def claims(self) -> tuple[CheckedClaim, ...]:
        """The claims of the study, with what was measured of each."""
        return tuple(check_claims(self.summary, self.record.claims))

    @cached_property
    def tables(self) -> dict[str, Table]:
        """The tables of the main metrics, by name, top-1 accuracy first."""
        return main_tables(self.summary, self.metrics)

    @cached_property
    def overview_tables(self) -> dict[str, Table]:
        """The same with groups in the place of their arms."""
        return main_tables(self.overview, self.metrics) if self.summary.groups else self.tables

    @cached_property
    def differences(self) -> dict[str, Table]:
        """The tables of differences in the main metrics, by name."""
        return main_differences(self.summary, self.metrics)

    @cached_property
    def looks(self) -> dict[str, Look]:
        """The color and the shape of each arm."""
        return looks(self.summary)

    @cached_property
    def names(self) -> dict[str, str]:
        """The names of arms and groups, marked where they learned from other data."""
        return {arm: row_name(self.summary, arm) for arm in (*self.summary.arms, *self.summary.groups)}

    @cached_property
    def marks(self) -> str:
        """What the marks of names mean, in sentences."""
        return marks(self.summary)

    @cached_property
    def dagger(self) -> str:
        """What a dagger behind the name of a test set means, after other sentences."""
        return f" {dagger(self.tables.values())}".rstrip()

    @cached_property
    def pictured(self) -> list[str]:
        """The arms that plots show, the best first."""
        return pictured(self.summary, self.answer.arm)[0]

    @cached_property
    def pictured_note(self) -> str:
        """Which arms plots show, after other sentences; "" where they show all."""
        shown, every = len(self.pictured), len(self.summary.arms)
        return f" Plots show {shown} of the {every} arms: those compared in the answer and the best." * (shown < every)

    @cached_property
    def legend(self) -> list[tuple[str, str]]:
        """The names of the arms in plots, each with the arm whose look it has."""
        return [(self.names[arm], arm) for arm in self.pictured]

    @cached_property
    def references(self) -> list[str]:
        """What arms, or groups in their place, are compared with."""
        return references(self.overview)

    @cached_property
    def headline(self) -> Headline:
        """The answer as a picture."""
        summary, table = self.overview, self.overview_tables["top1"]
        leading = summary.leading
        shown, others = pictured(summary, self.answer.arm)
        drawn = lanes(summary, [*shown, *others], [leading], with_guessing=True)
        where = f"mean of {len(summary.shifts)} shifts" if summary.shifts[1:] else (*summary.shifts, summary.clean)[0]
        caption = f"Top-1 accuracy in percent, {where}, with {_ends(summary, leading)}."
        if summary.shifts and summary.clean in summary.by_group:
            caption += f" Of {summary.clean}, {_ends(summary, summary.clean)}."
        chance, reached = (number(rate(summary, leading)) for rate in (guessing, without_looking))
        more = "" if reached == chance else ", or always naming the commonest class where that reaches more"
        caption += f" Dashed: guessing{more}, {reached} %. {self.marks}"
        at = [i for i, column in enumerate(table.columns) if column.kind in ("mean", "clean")]
        entries = dict(table.rows)
        rows = tuple((lane, tuple(entries[lane.arm][i] for i in at)) for lane in drawn.rows[leading])
        return Headline(
            caption=caption.rstrip(),
            columns=tuple(table.columns[i] for i in at),
            rows=rows[: len(shown)],
            folded=rows[len(shown) :],
            ticks=drawn.ticks,
            guessing=drawn.guessing.get(leading),
        )

    @cached_property
    def sections(self) -> dict[str, ReportSection]:
        """The sections that have something to show, by name, in their order."""
        made = {name: section(self) for name, section in SECTIONS.members().items()}
        sections = {name: section for name, section in made.items() if section is not None}
        return dict(sorted(sections.items(), key=lambda item: item[1].order))


def _ends(summary: Summary, test_set: str) -> str:
    """What stands beside an accuracy: its interval, or, of few groups of images, these."""
    return "the range of its groups of images" if test_set in summary.by_group else "95 % intervals"


SECTIONS: Registry[Callable[[ReportView], ReportSection | None]] = Registry(
    "section", "genrobust.sections", "genrobust.report.sections"
)
