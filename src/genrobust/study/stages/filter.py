"""The stage that decides which images of a generated dataset an arm mixes: a filter leaves the others out."""

from __future__ import annotations

from collections.abc import Sequence

from genrobust.data import Review, ShardDataset, read_filter, write_reviewed
from genrobust.study.estimates import Cost
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.sources.checkpoints import PlannedCheckpoint
from genrobust.study.sources.filtered import FilteredDataset
from genrobust.study.stages.stage import Stage


class Filter(Stage):
    """Makes the list of the images that `filtered` leaves out.

    A CLIP or the classifier `judge` of the study judges them; or a person did, which takes no time and no worker.
    """

    name = "filter"
    title = "filtering"
    _not_pickled = ("judge", "needs")

    def __init__(
        self, filtered: FilteredDataset, judge: PlannedCheckpoint | None = None, needs: Sequence[Stage] = ()
    ) -> None:
        super().__init__(filtered.dataset.context, needs)
        self.filtered, self.judge = filtered, judge

    def jobs(self) -> list[Job]:
        filtered, name = self.filtered, self.filtered.dataset.name
        count = int(filtered.class_counts.sum())
        size = 0 if filtered.is_done else count
        return [Job(name, f"the filter of {name}", size, row=name, folder=filtered.folder, total=count)]

    def load(self) -> DoJobs:
        from genrobust.study.filtering import filter_shards

        def make(names: Sequence[str]) -> None:
            del names  # one, of this dataset
            self.filtered.dataset.images.fetch_tars()
            filter_shards(self.filtered)

        return make

    def do(self, todo: Sequence[Job]) -> None:
        filtered = self.filtered
        if isinstance(filtered.judge, Review):
            for _ in todo:  # one, if it is not done
                shards = ShardDataset(filtered.dataset.folder)
                write_reviewed(shards, filtered.judge, filtered.folder, filtered.inputs)
        else:
            super().do(todo)
        if todo:
            made = read_filter(filtered.folder)
            self.context.log(f"kept {made.kept:,} of {made.made:,} images of {filtered.dataset.name}, by {made.by}")

    def cost(self, job: Job) -> Cost:
        if isinstance(self.filtered.judge, Review):
            return Cost(0)
        if self.judge is None:
            return Cost(1, of=f"CLIP {self.filtered.rule.clip}")
        return Cost(self.judge.size.multiply_adds)
