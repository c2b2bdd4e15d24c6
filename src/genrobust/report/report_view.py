"""The view: everything that a report of a study shows, computed once. Renderers show it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from genrobust.core import Registry, StudyRecord, Summary, is_own, one_line
from genrobust.report.accuracy_lanes import Lane, lanes
from genrobust.report.answer import Answer, find_answer
from genrobust.report.arm_groups import with_group_means
from genrobust.report.arm_looks import Look, looks, split_pictured
from genrobust.report.report_section import Column, Entry, ReportSection, Table
from genrobust.report.score_tables import dagger, main_differences, main_tables
from genrobust.report.wording import best_guess, caveat, marks, most_frequent, number, references, row_name
from genrobust.robustness import CheckedClaim, Metric, check_claims, list_metrics

log = logging.getLogger(__name__)
# After all sections of genrobust.
FAILED_ORDER = 10_000

HeadlineRow = tuple[Lane, tuple[Entry, ...]]


@dataclass(frozen=True, slots=True)
class Headline:
    """The picture at the head of a page: each arm, or group, on the mean of the shifts, or on the clean set.

    Attributes:
        rows: The lane of each arm that plots show, with its entries in `columns`: the mean and the clean accuracy.
        folded: The rows of the other arms.
        ticks: Positions in percent of the axis, each with its percents.
        guessing: The position of `most_frequent`, None if it is not on the axis.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[HeadlineRow, ...]
    folded: tuple[HeadlineRow, ...]
    ticks: Sequence[tuple[float, int]]
    guessing: float | None


class ReportView:
    """Everything that a report of a study shows. Each property is computed at its first use, and once.

    Attributes:
        record: The study.
        summary: Its scores.
    """

    def __init__(self, record: StudyRecord) -> None:
        self.record = record
        self.summary = record.summary

    @cached_property
    def metrics(self) -> list[Metric]:
        """Every metric, those with sections of their own first."""
        return list_metrics()

    @cached_property
    def overview(self) -> Summary:
        """The scores with groups instead of their arms."""
        return with_group_means(self.summary)

    @cached_property
    def answer(self) -> Answer:
        """The answer in words, and its arm."""
        return find_answer(self.record)

    @cached_property
    def caveat(self) -> str:
        """The limits of the verdict: guessing, a rival augmentation, the seeds, and pretrained networks."""
        sentences = [*self.answer.guessed, *self.answer.rival, caveat(self.summary)]
        if self.record.starts:
            sentences.append(self.record.starts)
        return " ".join(sentences)

    @cached_property
    def claims(self) -> tuple[CheckedClaim, ...]:
        """The claims of the study, with the measured difference of each."""
        return tuple(check_claims(self.summary, self.record.claims))

    @cached_property
    def tables(self) -> dict[str, Table]:
        """The tables of the main metrics, by name, top-1 accuracy first."""
        return main_tables(self.summary, self.metrics)

    @cached_property
    def overview_tables(self) -> dict[str, Table]:
        """The same with groups instead of their arms."""
        if self.summary.groups:
            return main_tables(self.overview, self.metrics)
        return self.tables

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
        """The names of arms and groups, marked if they learned from other data."""
        return {arm: row_name(self.summary, arm) for arm in (*self.summary.arms, *self.summary.groups)}

    @cached_property
    def marks(self) -> str:
        """The meaning of the marks of names, in sentences."""
        return marks(self.summary)

    @cached_property
    def dagger(self) -> str:
        """The meaning of a dagger after the name of a test set, as a further sentence of a note."""
        return f" {dagger(self.tables.values())}".rstrip()

    @cached_property
    def pictured(self) -> list[str]:
        """The arms that plots show, the most accurate first."""
        shown, _ = split_pictured(self.summary, self.answer.arm)
        return shown

    @cached_property
    def pictured_note(self) -> str:
        """The number of arms in plots, as a further sentence of a note; "" if plots show all."""
        shown, every = len(self.pictured), len(self.summary.arms)
        if shown == every:
            return ""
        return f" Plots show {shown} of the {every} arms: those compared in the answer and the most accurate others."

    @cached_property
    def legend(self) -> list[tuple[str, str]]:
        """The names of the arms in plots, each with the arm whose look it has."""
        return [(self.names[arm], arm) for arm in self.pictured]

    @cached_property
    def references(self) -> list[str]:
        """The arms, or groups, that others are compared with."""
        return references(self.overview)

    @cached_property
    def headline(self) -> Headline:
        """The answer as a picture."""
        summary, table = self.overview, self.overview_tables["top1"]
        shown, others = split_pictured(summary, self.answer.arm)
        drawn = lanes(summary, [*shown, *others], [summary.leading], with_guessing=True)
        kept = [i for i, column in enumerate(table.columns) if column.name in (summary.leading, summary.clean)]
        entries = dict(table.rows)
        rows = []
        for lane in drawn.rows[summary.leading]:
            rows.append((lane, tuple(entries[lane.arm][i] for i in kept)))
        return Headline(
            caption=f"{_headline_caption(summary)} {self.marks}".rstrip(),
            columns=tuple(table.columns[i] for i in kept),
            rows=tuple(rows[: len(shown)]),
            folded=tuple(rows[len(shown) :]),
            ticks=drawn.ticks,
            guessing=drawn.guessing.get(summary.leading),
        )

    @cached_property
    def sections(self) -> dict[str, ReportSection]:
        """The sections that have something to show, by name, in their order."""
        sections = {}
        for name, make_section in SECTIONS.members().items():
            try:
                section = make_section(self)
            except Exception as error:
                if is_own(make_section):
                    raise
                # A section of another package must not cost the user the report of a long study.
                section = _describe_failure(name, error)
            if section is not None:
                sections[name] = section
        return dict(sorted(sections.items(), key=lambda item: item[1].order))


def _describe_failure(name: str, error: Exception) -> ReportSection:
    """Return the section that a page shows instead of one that failed, and log a warning."""
    reason = f"{type(error).__name__}: {one_line(error)}"
    log.warning(f"the section {name!r} of another package failed, and the report goes on without it: {reason}")
    return ReportSection(f"{name}: failed", order=FAILED_ORDER, items=[f"The code of this section failed. {reason}"])


def _headline_caption(summary: Summary) -> str:
    if len(summary.shifts) > 1:
        where = f"mean of {len(summary.shifts)} shifts"
    else:
        where = summary.shifts[0] if summary.shifts else summary.clean
    caption = f"Top-1 accuracy in percent, {where}, with {_ends_in_words(summary, summary.leading)}."
    if summary.shifts and summary.clean in summary.by_group:
        caption += f" Numbers on {summary.clean} have {_ends_in_words(summary, summary.clean)}."
    rate = number(most_frequent(summary, summary.leading))
    return f"{caption} Dashed line: {best_guess(summary, summary.leading)} ({rate} %)."


def _ends_in_words(summary: Summary, test_set: str) -> str:
    """Name the range that is shown with an accuracy: an interval, or the range of few groups of images."""
    if test_set in summary.by_group:
        return "the range of its groups of images"
    return "95 % intervals"


SECTIONS: Registry[Callable[[ReportView], ReportSection | None]] = Registry(
    "section", "genrobust.sections", "genrobust.report.sections"
)
