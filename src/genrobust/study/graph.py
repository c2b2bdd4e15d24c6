"""The graph of a study: its stages and what each needs; `run`, `show` and the estimates go through it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

from genrobust.core import REAL, RETRIEVED, RETRIEVED_BY_SEARCH, UserError
from genrobust.recipe import QualityConfig
from genrobust.study.context import Context
from genrobust.study.results.baselines import grid
from genrobust.study.sources import Sources
from genrobust.study.stages.describe import Describe
from genrobust.study.stages.evaluate import Evaluate
from genrobust.study.stages.filter import Filter, ReviewFilter
from genrobust.study.stages.generate import Generate
from genrobust.study.stages.interpolate import Interpolate
from genrobust.study.stages.pack import Pack
from genrobust.study.stages.search import Search
from genrobust.study.stages.stage import Stage
from genrobust.study.stages.train import Train
from genrobust.study.stages.train_generator import TrainedGenerator, TrainGenerator
from genrobust.study.training_runs import TrainingRun, arm_runs, curve_runs


class Graph:
    """Makes the stages of a study, joined by what they need."""

    def __init__(self, context: Context, sources: Sources | None = None) -> None:
        self.context, self.recipe = context, context.recipe
        self.sources = sources or Sources(context)
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
        return [REAL, *self.sources.datasets, *sorted(others)]

    def notices(self) -> list[str]:
        """Return what is wrong with the images of the study, a sentence each, also of recipes that it starts from."""
        copies = [copies for other in self.learned_in(self.runs) for copies in self.context.copies_in(other)]
        return [*map(str, self.context.notices), *map(str, copies)]

    def learned_in(self, runs: Iterable[TrainingRun]) -> list[Context]:
        """Return the studies of other recipes whose networks `runs` start from, or these in turn, each once."""
        sources, left = {"": self.sources}, [(self.sources, run) for run in runs]
        while left:
            of, run = left.pop()
            needed = of.needed(run)
            sources |= {other.named_as: other for other, _ in needed}
            left += needed
        return [other.context for other in sources.values() if other.context is not self.context]

    def train_generators(self) -> list[TrainGenerator]:
        """Return the stages that train generators: those of the datasets, and those of sections that no dataset uses.

        Raises:
            UserError: The recipe has no generator, or trains none.
        """
        recipe, base = self.recipe, self.recipe.generator
        if base is None:
            raise UserError(f"{recipe.name} has no generator to train: set generator.model")
        of_datasets = [self.sources.dataset(name).trained for name in recipe.datasets]
        trained = {generator.folder: generator for generator in of_datasets if generator is not None}
        used = [generator.config for generator in trained.values()]
        for config in (recipe.finetune, recipe.class_model):
            if config is not None and config not in used:
                self.context.log(f"no dataset uses what {config.section} trains: set datasets.NAME.{config.used_by}")
                generator = TrainedGenerator(self.context, base, config)
                trained[generator.folder] = generator
        if not trained:
            raise UserError(f"{recipe.name} trains no generator: add the section finetune or class_model")
        return [TrainGenerator(generator) for generator in trained.values()]

    def generate(self, name: str) -> Stage:
        """Return the stage that draws a dataset."""
        return self._made.setdefault(f"dataset {name}", Generate(self.sources.dataset(name)))

    def make(self, source: str) -> list[Stage]:
        """Return the stages that make a source: what draws or searches it, and its filter with what judges."""
        if source == RETRIEVED_BY_SEARCH:
            return [self._made.setdefault(source, Search(self.sources))]
        drawn = [self.generate(dataset.name) for dataset in self.sources.reads(source)]
        rule = self.recipe.filter_of(source) if source in self.sources.datasets else None
        if rule is None:
            return drawn
        if source not in self._made:
            judge = self.sources.judge_run(rule)
            needs = drawn if judge is None else [*drawn, self.train([judge])]
            stage = ReviewFilter if rule.by == "list" else Filter
            self._made[source] = stage(self.sources, source, rule, needs)
        return [self._made[source]]

    def train(self, runs: Sequence[TrainingRun]) -> Stage:
        """Return the stage that trains `runs`, or the last of those that do."""
        tuned, mixed = list(dict.fromkeys(run.tuned for run in runs)), [run for run in runs if run.alpha != 1]
        trained = Train(self.sources, tuned, self._stages_before(tuned))
        return Interpolate(self.sources, mixed, [trained]) if mixed else trained

    def _stages_before(self, runs: Sequence[TrainingRun]) -> list[Stage]:
        """The stages that make what `runs` train on, and the classifiers of other arms that they need."""
        names = list(dict.fromkeys(part.source for run in runs for part in run.parts))
        needs = self._make_all(names)
        if self.recipe.data.packed and self.context.executor.here:  # a node of a cluster packs what it reads
            cropped = [run for run in runs if run.train.crop == "random-resized"]
            wanted = [job.key for job in Train(self.sources, cropped).jobs() if job.size]
            packed = list(dict.fromkeys(part.source for run in wanted for part in run.parts))
            needs = [*needs, Pack(self.sources, packed, needs)] if packed else needs
        before: dict[Sources, list[TrainingRun]] = {}
        for sources, first in (pair for run in runs for pair in self.sources.needed(run)):
            before.setdefault(sources, []).append(first)
        for sources, firsts in before.items():
            graph = self if sources is self.sources else Graph(sources.context, sources)
            needs = [*needs, graph.train(list(dict.fromkeys(firsts)))]
        return needs

    def require_initial(self, runs: Iterable[TrainingRun]) -> None:
        """Make once each network that any of `runs` is still to start from, to report early what is wrong with one.

        Those of other arms are not trained yet.

        Raises:
            UserError: Weights do not fit their network, or it has not the last layer that the training needs.
            GenrobustError: Weights cannot be fetched or loaded.
        """
        left = [job.key for job in Train(self.sources, [run.tuned for run in runs]).jobs() if job.size]
        elsewhere = [run for run in left if run.train.is_pretrained and self.sources.origin(run) is None]
        for run in {self._network_key(run): run for run in elsewhere}.values():
            initial = self.sources.initial(run)
            assert initial is not None  # it is pretrained
            for words in initial.preparation_notes(run.train):
                self.context.log(f"{initial.spec}: {words}")
            network = initial.make(self.context.data.labels, self.sources.settings(run)).network
            if run.train.probes:
                from genrobust.classifiers import last_linear  # with torch, which a report of what is there loads not

                last_linear(network)

    def _network_key(self, run: TrainingRun) -> tuple[object, ...]:
        """Return what decides the network of a run's first step, but for the seed."""
        initial, train = self.sources.initial(run), run.train
        return initial and initial.identity, train.head, train.image_size, train.method

    def evaluate(self, runs: Sequence[TrainingRun]) -> Evaluate:
        """Return the stage that predicts with the classifiers of `runs`."""
        return Evaluate(self.sources, runs, needs=[self.train(runs)])

    def zero_shot(self) -> Evaluate:
        """Return the stage that predicts with the recipe's zero-shot CLIP; without jobs where it names none."""
        return Evaluate(self.sources, (), self.recipe.zero_shot)

    def describe(self, config: QualityConfig) -> Describe:
        """Return the stage that shows the pictured sources to a CLIP."""
        return Describe(self.sources, self.pictured, config, self._make_all(self.pictured))

    def stages(self) -> list[Stage]:
        """Return all stages of the study, each after those that it needs.

        The CLIPs predict and search, and all datasets are drawn, before the first training: what fails, fails early.
        """
        ends: list[Stage] = [] if self.recipe.zero_shot is None else [self.zero_shot()]
        ends += self._make_all({RETRIEVED_BY_SEARCH} & self.recipe.sources())
        ends += [*map(self.generate, self.sources.datasets), self.evaluate([*self.runs, *self.points])]
        if self.recipe.quality is not None:
            ends.append(self.describe(self.recipe.quality))
        return list(dict.fromkeys(stage for end in ends for stage in end.order()))

    def _make_all(self, names: Iterable[str]) -> list[Stage]:
        return list(dict.fromkeys(stage for name in names for stage in self.make(name)))
