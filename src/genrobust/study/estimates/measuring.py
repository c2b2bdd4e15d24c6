"""How fast this machine is: two seconds of convolutions, before anything has run in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from genrobust.classifiers import named_precisions
from genrobust.core import FLOAT32, progress_bar, set_threads
from genrobust.study.context import Context
from genrobust.study.estimates.rates import MACHINE, Cost, known_rate, remember_rate
from genrobust.study.estimates.speed import measure_speed
from genrobust.study.executors.jobs import DoJobs, Job, Work
from genrobust.study.stages.stage import Row, Stage

SECONDS = 2.0  # of measurement
MEASURED = (FLOAT32, "bfloat16", "float16")


def measure_machine(rows: Sequence[Row]) -> None:
    """Measure how fast this machine is, where some job of `rows` is not done.

    It is kept in the folder of the study. As many workers are measured at the same time as the study will have: they
    share the memory's bandwidth. Nothing is measured on a GPU, whose speed with a network depends more on what feeds
    it, nor on a cluster, whose nodes may all differ: there the first jobs of a stage tell.
    """
    first = [(row.stage, row.left[0]) for row in rows if row.left]
    if not first:
        return
    context = first[0][0].context
    precisions = sorted({FLOAT32, *named_precisions(context.recipe).values()} & set(MEASURED))
    known = [known_rate(context.out, MACHINE, context.worker, Cost(1, precision)) for precision in precisions]
    if context.device != "cpu" or not context.executor.here or None not in known:
        return
    jobs = [Job(number, "measuring this machine", 1) for number in range(context.executor.workers())]
    load = partial(_measurer, context, precisions, first)
    context.executor.run(Work("measuring this machine", jobs, load, "workers", light=True))


def _measurer(context: Context, precisions: Sequence[str], first: Sequence[tuple[Stage, Job]]) -> DoJobs:
    set_threads(context.recipe.threads)

    def measure(numbers: Sequence[int]) -> None:
        with progress_bar("measuring", len(numbers), "workers") as bar:
            for number in numbers:
                for precision in precisions:
                    speed = measure_speed(precision, SECONDS / len(precisions))
                    remember_rate(context.out, MACHINE, Cost(1, precision).key(context.worker), speed)
                for stage, job in first if number == 0 else ():
                    stage.cost(job)  # which keeps the sizes of networks
                bar.advance()

    return measure
