"""Work in the jobs of a SLURM cluster, submitted by submitit: each stage is one array."""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, UncompletedJobError

from genrobust.classifiers import choose_precisions
from genrobust.core import (
    GenrobustError,
    Hardware,
    UserError,
    device_kind,
    digest,
    hardware,
    one_line,
    page_json,
    progress_bar,
    read_page_json,
    replacing,
    worker_environment,
)
from genrobust.recipe import Recipe
from genrobust.study.executors.doing import (
    BadLuck,
    Shown,
    do_jobs,
    failure_of,
    has_more_tries,
    raise_failed,
    read_counts,
    set_threads,
    write_count,
)
from genrobust.study.executors.jobs import Job, Work
from genrobust.study.executors.local import Local

FOLDER = "slurm"  # of the output folder: logs of the last jobs, and what is sent to them
LARGEST_ARRAY = 1000  # jobs: SLURM's default limit is 1,001
LOOK_EVERY_S = 2.0  # at the files of the jobs
log = logging.getLogger(__name__)


class Slurm:
    """The jobs of a SLURM cluster for `recipe`, for results in `out`, which they share.

    Several processes cannot train one classifier together here: that takes Ray, or one node with several GPUs.

    Args:
        cluster: "slurm", or "local" for processes of this machine.
        at_once: How many jobs run at the same time.
        num_gpus: GPUs of a job; None takes one if the device is cuda, and none otherwise.
        limits: Further parameters of submitit's executor.

    Raises:
        UserError: There is no SLURM on this machine.
    """

    here = False

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        cluster: str,
        at_once: int,
        num_gpus: int | None,
        limits: Mapping[str, Any],
    ) -> None:
        if cluster == "slurm" and shutil.which("srun") is None:
            raise UserError("execute.executor: slurm: there is no srun here: run this on a login node of the cluster")
        self._cluster, self._at_once, self._threads = cluster, at_once, recipe.threads
        self._folder = (out / FOLDER).absolute()
        named = recipe.device.partition(":")[0]
        self._device = device_kind(named) if named != "auto" else "cuda" if num_gpus else "cpu"
        self._gpus = int(self._device == "cuda") if num_gpus is None else num_gpus
        self._limits = {**limits, "gpus_per_node": self._gpus, "slurm_array_parallelism": at_once}

    def placed(self, recipe: Recipe, say: Callable[[str], None] = lambda line: None) -> Recipe:
        """Return `recipe` on the device of the jobs, with the precisions of a node, which a job says once."""
        return choose_precisions(recipe.model_copy(update={"device": self._device}), self._hardware, say)

    def _hardware(self) -> Hardware:
        asked = digest([self._cluster, self._device, self._limits])
        kept = self._folder / f"hardware-{asked}.json"
        if not kept.exists():
            found: Hardware = self._submit(_hardware, [(self._device,)])[0].result()
            with replacing(kept) as file:
                file.write(page_json({"fast": sorted(found.fast), "why": found.why}).encode())
        said = read_page_json(kept)
        return Hardware(self._device, frozenset(said["fast"]), said["why"])

    def require(self, workers: int) -> None:
        """Raise UserError where several `workers` should do a job together."""
        if workers > 1:
            raise UserError(
                f"train.workers: {workers} workers train one classifier together, and jobs of SLURM are independent: "
                "set train.workers to 1, or use a Ray cluster (--executor ray)"
            )

    def workers(self) -> int:
        """Return how many jobs run at the same time, if the cluster has room."""
        return self._at_once

    def prepare(self) -> None:
        """Nothing: a job loads what it needs."""

    def run(self, work: Work) -> None:
        """Do all of `work`; a job that SLURM ends early or that dies is submitted again, up to three times.

        Raises:
            UserError: A job failed by a mistake of the user's, which cancels the others.
            GenrobustError: Jobs failed in all their tries; the others are done.
        """
        if work.alone:
            Local().run(work)
        if work.alone or not work.jobs:
            return
        self.require(max(job.workers for job in work.jobs))
        counts = self._folder / "progress" / uuid.uuid4().hex[:12]
        counts.mkdir(parents=True)
        try:
            with progress_bar(work.what, work.size, work.unit, seconds=work.seconds) as bar:
                shown = Shown(bar, partial(read_counts, counts))
                raise_failed(work.what, self._run(work, shown, counts))
        finally:
            shutil.rmtree(counts, ignore_errors=True)

    def _run(self, work: Work, shown: Shown, counts: Path) -> list[tuple[Job, GenrobustError]]:
        """Do the jobs, and return those that failed in all their tries."""
        do = partial(_do, pickle.dumps(work.load), work.unit, str(Path.cwd()), worker_environment(self._threads))
        number = min(len(work.jobs), self._at_once if work.together else LARGEST_ARRAY)
        waiting: list[tuple[tuple[Job, ...], int]] = [(tuple(work.jobs[i::number]), 1) for i in range(number)]
        running: list[tuple[submitit.Job[Any], tuple[Job, ...], int, int]] = []
        failed: list[tuple[Job, GenrobustError]] = []
        try:
            while waiting or running:
                numbers = [shown.begin(sum(job.size for job in share)) for share, _ in waiting]
                keys = [[job.key for job in share] for share, _ in waiting]
                calls = [(of, counts / str(n)) for of, n in zip(keys, numbers, strict=True)]
                submitted = self._submit(do, calls) if calls else []
                running += [(job, *of, n) for job, of, n in zip(submitted, waiting, numbers, strict=True)]
                waiting, left = [], []
                for job, share, tries, n in running:
                    if not job.done():
                        left.append((job, share, tries, n))
                    elif isinstance(spent := _result(job), float):
                        work.ended(share, spent)
                        shown.ended(n)
                    else:
                        shown.failed(n)
                        if has_more_tries(share, tries, spent):
                            waiting.append((share, tries + 1))
                        else:
                            failed += [(of_share, spent) for of_share in share]
                running = left
                shown.update()
                if running:
                    time.sleep(LOOK_EVERY_S)
        finally:
            for job, *_ in running:
                with suppress(Exception):  # it may have ended meanwhile
                    job.cancel()
        return failed

    def _submit(self, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[submitit.Job[Any]]:
        """Submit an array with a call of `function` in each job.

        Raises:
            UserError: SLURM refuses it.
        """
        executor = submitit.AutoExecutor(self._folder / "logs", cluster=self._cluster)
        executor.update_parameters(name="genrobust", **self._limits)
        try:
            return executor.map_array(function, *zip(*calls, strict=True))
        except FailedJobError as error:
            raise UserError(
                f"SLURM refuses these jobs: {' '.join(str(error).split())[-300:]}: change execute"
            ) from error


def _hardware(kind: str) -> Hardware:
    """Return the hardware of the node that runs this: `hardware` itself is a cached function."""
    return hardware(kind)


def _do(
    load: bytes, unit: str, folder: str, variables: dict[str, str], keys: Sequence[Any], file: Path
) -> float | GenrobustError:
    """Do jobs on a node, and count in `file` how far they are; return their seconds, or how they failed."""
    try:
        os.chdir(folder)  # what paths are relative to
        set_threads(variables)
        return do_jobs(load, unit, keys, partial(write_count, file))
    except Exception as error:
        return failure_of(error)


def _result(job: submitit.Job[Any]) -> float | GenrobustError:
    """Return the seconds of a job that ended, or how it failed."""
    try:
        result: float | GenrobustError = job.result()
    except (UncompletedJobError, FailedJobError) as error:  # submitit says at length where its logs are
        return BadLuck(
            f"its job {job.job_id} ended early ({job.state.lower()}), see {job.paths.stderr}: {one_line(error)}"
        )
    return result
