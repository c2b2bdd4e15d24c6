"""The cost of an arm: the time that one worker takes for all that it is made of, by this machine's own rates."""

from __future__ import annotations

from genrobust.core import RETRIEVED, RETRIEVED_BY_CLASS
from genrobust.study.estimates.rates import known_rate
from genrobust.study.graph import Graph
from genrobust.study.stages.stage import Stage
from genrobust.study.stages.train import Train
from genrobust.study.training_runs import TrainingRun


def device_seconds(graph: Graph, run: TrainingRun) -> dict[str, float]:
    """Return the seconds of each stage, by name, in which one worker makes all that `run` mixes and then trains it.

    The trainings of classifiers that `run` starts from or is taught by count, if a study trains them. Whatever other
    arms share is counted in full: so much the run costs by itself. Images that are retrieved to match generated ones
    need not be generated. Nothing is returned where the rate of some job is not known.
    """
    mixed = [part.source for part in run.parts if part.source not in (RETRIEVED, RETRIEVED_BY_CLASS)]
    stages: list[Stage] = [stage for source in mixed for made in graph.make(source) for stage in made.order()]
    context, seconds = graph.context, dict[str, float]()
    for stage in dict.fromkeys([*stages, Train(graph.sources, [run.tuned])]):
        for job in stage.jobs():
            rate = known_rate(context.out, stage.name, context.worker, stage.cost(job))
            if rate is None:
                return {}
            seconds[stage.name] = seconds.get(stage.name, 0) + job.total * job.each / rate
    for sources, first in graph.sources.needed(run):
        before = device_seconds(graph if sources is graph.sources else Graph(sources.context, sources), first)
        if not before:
            return {}
        seconds = {stage: seconds.get(stage, 0) + before.get(stage, 0) for stage in {**before, **seconds}}
    return seconds
