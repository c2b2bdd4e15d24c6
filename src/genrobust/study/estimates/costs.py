"""The cost of an arm: the time that one worker takes for all that it is made of, by this machine's own rates."""

from __future__ import annotations

from genrobust.core import RETRIEVED, RETRIEVED_BY_CLASS
from genrobust.study.estimates.rates import known_rate
from genrobust.study.graph import Graph
from genrobust.study.sources import Sources
from genrobust.study.stages.stage import Stage
from genrobust.study.stages.train import Train
from genrobust.study.training_runs import TrainingRun


def device_seconds(graph: Graph, run: TrainingRun) -> dict[str, float]:
    """Return the seconds of each stage, by name, in which one worker makes all that `run` mixes and then trains it.

    The training of a classifier that `run` starts from counts, if a study trains it. Whatever other arms share is
    counted in full: so much the run costs by itself. Images that are retrieved to match generated ones need not be
    generated. Nothing is returned where the rate of some job is not known.
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
    return seconds if (origin := graph.sources.origin(run)) is None else _with_origin(graph, seconds, *origin)


def _with_origin(graph: Graph, seconds: dict[str, float], sources: Sources, first: TrainingRun) -> dict[str, float]:
    """`seconds`, and those of the run that a training starts from; nothing where these are not known."""
    there = graph if sources is graph.sources else Graph(sources.context, sources)
    before = device_seconds(there, first)
    return {stage: seconds.get(stage, 0) + before.get(stage, 0) for stage in {**before, **seconds}} if before else {}
