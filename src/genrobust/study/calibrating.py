"""How fast this machine does what a study is about to do: a second of the real work, before the first run.

A trial does the work of a job in a folder that is deleted afterwards, from the real images, and is cut short by what
counts its progress. As many trials run at the same time as the study will have workers: they share the memory's
bandwidth.
"""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from genrobust.core import GenrobustError, counting, is_out_of_memory, progress_bar
from genrobust.study.context import Context
from genrobust.study.jobs import DoJobs, Job, Work
from genrobust.study.rates import measured_rate, remember_rate
from genrobust.study.stage import Row, Stage

SECONDS = 1.0  # of work whose speed is measured, once it has warmed up
Trial = tuple[Stage, Job]
log = logging.getLogger(__name__)


def calibrate(context: Context, rows: Sequence[Row]) -> None:
    """Measure the rates that the unfinished jobs of `rows` depend on and that this machine has not measured yet.

    They are remembered in the folder of the study. On a cluster nothing is measured: its nodes may all differ.
    """
    jobs = [(row.stage, job) for row in rows for job in row.left]
    left = {(stage.name, job.rate_key): (stage, job) for stage, job in reversed(jobs)}  # the first, which is largest
    trials = [trial for (name, key), trial in left.items() if measured_rate(context.out, name, key) is None]
    if not trials or not context.executor.here:
        return
    together = min(context.executor.workers(), max(sum(job.workers for job in row.left) for row in rows))
    copies = math.ceil(together / len(trials))
    numbers = [number for _ in range(copies) for number in range(len(trials))]
    measuring = [Job(number, f"a trial of {trials[number][0].name}", 1) for number in numbers]
    context.executor.run(Work("measuring this machine", measuring, partial(_measurer, context.out, trials), "trials"))


def _measurer(out: Path, trials: Sequence[Trial]) -> DoJobs:
    def measure(numbers: Sequence[int]) -> None:
        with progress_bar("measuring", len(numbers), "trials") as bar:
            for stage, job in (trials[number] for number in numbers):
                try:
                    rate = _rate(stage, job)
                except Exception as error:
                    if not (isinstance(error, GenrobustError) or is_out_of_memory(error)):
                        raise
                    log.debug("no rate of %s: %s", job.rate_key, error)  # the study will say so, where it matters
                else:
                    if rate is not None:  # of one worker: several are taken to be as fast side by side
                        remember_rate(out, stage.name, job.rate_key, rate * job.workers)
                bar.advance()

    return measure


class _Enough(BaseException):
    """Ends a trial: no error, so that nobody handles it as one."""


def _rate(stage: Stage, job: Job) -> float | None:
    """Return the images a second of a trial; None where it counted none.

    Where a job reads its images once and keeps them, its first batches take longer: it is the mean over the whole job.
    """
    reads = stage.reads(job)
    settled = 1 if reads else 0  # the moment from which on nothing is new
    moments: list[tuple[float, int]] = []  # the first is the end of the warm-up

    def count(made: int, note: str | None, found: bool) -> None:
        if made and not found:
            moments.append((time.monotonic(), made))
            if len(moments) > 1 + settled and moments[-1][0] - moments[settled][0] >= SECONDS:
                raise _Enough

    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        counting("images", count),
        suppress(_Enough),
    ):
        stage.trial(job, Path(folder))
    if len(moments) > 1 + settled:
        each = (moments[-1][0] - moments[settled][0]) / sum(made for _, made in moments[1 + settled :])
        if not settled:
            return 1 / each
        reading = max(0.0, (moments[1][0] - moments[0][0]) / moments[1][1] - each)
        return job.left / (job.left * each + min(reads, job.left) * reading)
    return moments[0][1] / (moments[0][0] - began) if moments else None
