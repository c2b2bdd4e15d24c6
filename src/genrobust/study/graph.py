"""The graph of a study: its stages and what each needs; `run`, `show` and the estimates go through it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

from genrobust.core import REAL, RETRIEVED, RETRIEVED_BY_SEARCH
from genrobust.recipe import QualityConfig
from genrobust.study.context import Context
from genrobust.study.sources.checkpoints import Checkpoints, PlannedCheckpoint
from genrobust.study.sources.filtered import FilteredDataset
from genrobust.study.sources.search import PoolSearch
from genrobust.study.stages.describe import Describe
from genrobust.study.stages.evaluate import Evaluate
from genrobust.study.stages.filter import Filter
from genrobust.study.stages.generate import Generate
from genrobust.study.stages.interpolate import Interpolate
from genrobust.study.stages.pack import Pack
from genrobust.study.stages.search import Search
from genrobust.study.stages.stage import Stage
from genrobust.study.stages.train import Train
from genrobust.study.training_runs import TrainingRun, arm_runs, curve_runs, grid


class Graph:
    """Makes the stages of a study, joined by what they need."""

    def __init__(self, context: Context) -> None:
        self.context, self.recipe, self.checkpoints = context, context.recipe, Checkpoints(context)
        self.images = self.checkpoints.images
        self._made: dict[str, Stage] = {}  # what makes a source, or draws a dataset

    @cached_property
    def runs(self) -> list[TrainingRun]:
        """The classifiers that are trained: of all arms, then of the baseline line."""
        recipe, images = self.recipe, len(self.context.data.train)
        return [*arm_runs(recipe), *grid(recipe.train, recipe.robustness.grid, images)]

    @cached_property
    def points(self) -> list[TrainingRun]:
        """The classifiers between a pretrained network and a fine-tuned one that arms ask for beside their own."""
        return curve_runs(self.recipe)

    @cached_property
    def pictured(self) -> list[str]:
        """The sources that a report shows beside each other."""
        others = self.recipe.sources() & {RETRIEVED, RETRIEVED_BY_SEARCH, *self.context.data.extra}
        return [REAL, *self.recipe.generated_sets(), *sorted(others)]

    def generate(self, name: str) -> Stage:
        """Return the stage that draws a dataset."""
        return self._made.setdefault(f"dataset {name}", Generate(self.images.dataset(name)))

    def make(self, name: str) -> list[Stage]:
        """Return the stages that make a source: what draws or searches it, and its filter with what judges."""
        source = self.images.of(name)
        drawn = [self.generate(dataset) for dataset in source.datasets]
        if name not in self._made and isinstance(source, PoolSearch):
            self._made[name] = Search(source)
        elif name not in self._made and isinstance(source, FilteredDataset):
            judge = self.checkpoints.judge_of(source.rule)
            needs = drawn if judge is None else [*drawn, self.train([judge.run])]
            self._made[name] = Filter(source, judge, needs)
        return [self._made[name]] if name in self._made else drawn

    def train(self, runs: Sequence[TrainingRun]) -> Stage:
        """Return the stage that trains `runs`, or the last of those that do."""
        tuned, mixed = list(dict.fromkeys(run.tuned for run in runs)), [run for run in runs if run.alpha != 1]
        trained = Train(self.checkpoints, tuned, self._stages_before(tuned))
        return Interpolate(self.checkpoints, mixed, [trained]) if mixed else trained

    def _stages_before(self, runs: Sequence[TrainingRun]) -> list[Stage]:
        """The stages that make what `runs` train on, and the classifiers that they start from."""
        names = list(dict.fromkeys(part.source for run in runs for part in run.parts))
        needs = self._make_all(names)
        if self.recipe.data.packed and self.context.executor.here:  # a node of a cluster packs what it reads
            cropped = [run for run in runs if run.train.crop == "random-resized"]
            wanted = [job.key for job in Train(self.checkpoints, cropped).jobs() if job.size]
            packed = {(part.source, part.cells): part for run in wanted for part in run.parts}
            needs = [*needs, Pack(self.images, list(packed.values()), needs)] if packed else needs
        origins = (self.checkpoints.of(run).origin for run in runs)
        first = list(dict.fromkeys(origin.run for origin in origins if origin is not None))
        return [*needs, self.train(first)] if first else needs

    def require_trainable(self, runs: Iterable[TrainingRun]) -> None:
        """Report early what keeps any of `runs` from being trained; makes once each network that one starts from.

        Those of other arms are not trained yet.

        Raises:
            UserError: Weights do not fit their network, or it has not the last layer that the training needs; a
                network cannot be tested at the size that the recipe names; or there is no room for `train.workers`.
            GenrobustError: Weights cannot be fetched or loaded.
        """
        jobs = [job for job in Train(self.checkpoints, [run.tuned for run in runs]).jobs() if job.size]
        left = [self.checkpoints.of(job.key) for job in jobs]
        self.context.executor.require(max((job.workers for job in jobs), default=1))
        for planned in left:
            planned.require_size()
        first = {_network_key(planned): planned for planned in left if planned.origin is None}
        for planned in first.values():
            if (initial := planned.initial) is None:
                continue
            for words in initial.preparation_notes(planned.run.train):
                self.context.log(f"{initial.opened.name}: {words}")
            network = initial.make(self.context.data.labels, planned.settings).network
            if planned.run.train.probes:
                from genrobust.classifiers import last_linear  # with torch, which a report of what is there loads not

                last_linear(network)

    def evaluate(self, runs: Sequence[TrainingRun]) -> Evaluate:
        """Return the stage that predicts with the classifiers of `runs`."""
        return Evaluate(self.checkpoints, runs, needs=[self.train(runs)])

    def zero_shot(self) -> Evaluate:
        """Return the stage that predicts with the recipe's zero-shot CLIP; without jobs where it names none."""
        return Evaluate(self.checkpoints, (), self.recipe.zero_shot)

    def describe(self, config: QualityConfig) -> Describe:
        """Return the stage that shows the pictured sources to a CLIP."""
        return Describe(self.images, self.pictured, config, self._make_all(self.pictured))

    def stages(self) -> list[Stage]:
        """Return all stages of the study, each after those that it needs.

        The CLIPs predict and search, and all datasets are drawn, before the first training: what fails, fails early.
        """
        ends: list[Stage] = [] if self.recipe.zero_shot is None else [self.zero_shot()]
        ends += self._make_all({RETRIEVED_BY_SEARCH} & self.recipe.sources())
        ends += [*map(self.generate, self.images.datasets), self.evaluate([*self.runs, *self.points])]
        if self.recipe.quality is not None:
            ends.append(self.describe(self.recipe.quality))
        return list(dict.fromkeys(stage for end in ends for stage in end.order()))

    def _make_all(self, names: Iterable[str]) -> list[Stage]:
        return list(dict.fromkeys(stage for name in names for stage in self.make(name)))


def _network_key(planned: PlannedCheckpoint) -> tuple[object, ...]:
    """Return what decides the network of a run's first step, but for the seed."""
    initial, train = planned.initial, planned.run.train
    return initial and initial.identity(planned.context.data.labels), train.image_size, train.method
