"""The stage that decides which images of a generated dataset an arm mixes: a filter leaves the others out."""

from __future__ import annotations

from collections.abc import Sequence

from genrobust.core import Artifact
from genrobust.data import ShardDataset, read_filter, write_reviewed
from genrobust.recipe import FilterConfig
from genrobust.study.estimates import Cost, network_size
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.sources import Sources
from genrobust.study.stages.stage import Stage


class Filter(Stage):
    """Judges the images of the dataset `source` by `rule`, with a CLIP or a classifier of the study."""

    name = "filter"
    title = "filtering"

    def __init__(self, sources: Sources, source: str, rule: FilterConfig, needs: Sequence[Stage] = ()) -> None:
        super().__init__(sources.context, needs)
        self.sources, self.source, self.rule = sources, source, rule

    def jobs(self) -> list[Job]:
        folder = self.sources.filter_folder(self.source, self.rule)
        count = int(self.sources.class_counts(self.source).sum())
        size = 0 if Artifact(folder).is_finished else count
        name = f"the filter of {self.source}"
        return [Job(self.source, name, size, row=self.source, folder=folder, total=count)]

    def load(self) -> DoJobs:
        from genrobust.study.filtering import filter_shards

        def make(names: Sequence[str]) -> None:
            for name in names:
                dataset, recipe = self.sources.dataset(name), self.context.recipe
                dataset.fetch_tars()
                judge = self.sources.judge(self.rule), recipe.device, recipe.evaluate.batch_size
                place = self.sources.filter_folder(name, self.rule), self.sources.filter_inputs(name, self.rule)
                filter_shards(dataset.folder, self.context.data.labels, self.rule, *judge, *place)

        return make

    def do(self, todo: Sequence[Job]) -> None:
        super().do(todo)
        if todo:
            self._log_kept()

    def _log_kept(self) -> None:
        made = read_filter(self.sources.filter_folder(self.source, self.rule))
        self.context.log(f"kept {made.kept:,} of {made.made:,} images of {self.source}, by {made.by}")

    def cost(self, job: Job) -> Cost:
        run, context = self.sources.judge_run(self.rule), self.context
        if run is None:
            return Cost(1, of=f"CLIP {self.rule.clip}")
        return Cost(network_size(context.out, self.sources.settings(run), len(context.data.labels)).multiply_adds)


class ReviewFilter(Filter):
    """Leaves out of the dataset `source` what a person rejected, which takes no time and no worker."""

    def do(self, todo: Sequence[Job]) -> None:
        name, rule = self.source, self.rule
        for _ in todo:  # one, if it is not done
            review = self.sources.review(name, rule)
            assert review is not None  # the rule names one
            place = self.sources.filter_folder(name, rule), self.sources.filter_inputs(name, rule)
            write_reviewed(ShardDataset(self.sources.dataset(name).folder), review, *place)
            self._log_kept()

    def cost(self, job: Job) -> Cost:
        del job
        return Cost(0)
