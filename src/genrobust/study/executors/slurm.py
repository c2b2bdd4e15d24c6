"""Work in the jobs of a SLURM cluster, submitted by submitit: each stage is one array."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError

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
    read_page_json,
    replacing,
)
from genrobust.recipe import Recipe
from genrobust.study.executors.jobs import Work
from genrobust.study.executors.workers import BadLuck, Call, Files, Result, Slot, Workers

FOLDER = "slurm"  # of the output folder: logs of the last jobs, and what is sent to them
LOOK_EVERY_S = 2.0  # at the files of the jobs


class Slurm(Workers):
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
    most_shares = 1000  # SLURM's default limit of an array is 1,001

    def __init__(
        self, recipe: Recipe, out: Path, cluster: str, at_once: int, num_gpus: int | None, limits: Mapping[str, Any]
    ) -> None:
        if cluster == "slurm" and shutil.which("srun") is None:
            raise UserError("execute.executor: slurm: there is no srun here: run this on a login node of the cluster")
        self._at_once, self._threads, self._folder = at_once, recipe.threads, (out / FOLDER).absolute()
        named = recipe.device.partition(":")[0]
        self._device = device_kind(named) if named != "auto" else "cuda" if num_gpus else "cpu"
        gpus = int(self._device == "cuda") if num_gpus is None else num_gpus
        limits = {**limits, "gpus_per_node": gpus, "slurm_array_parallelism": at_once}
        self._asked = digest([cluster, self._device, limits])
        self._submitit = submitit.AutoExecutor(self._folder / "logs", cluster=cluster)
        self._submitit.update_parameters(name="genrobust", **limits)

    def placed(self, recipe: Recipe, say: Callable[[str], None] = lambda line: None) -> Recipe:
        """Return `recipe` on the device of the jobs, with the precisions of a node, which a job says once."""
        return choose_precisions(recipe.model_copy(update={"device": self._device}), self._hardware, say)

    def _hardware(self) -> Hardware:
        kept = self._folder / f"hardware-{self._asked}.json"
        if not kept.exists():
            with self.starting():
                job = self._submitit.submit(_hardware, self._device)
            found: Hardware = job.result()
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

    @contextmanager
    def channel(self) -> Iterator[Files]:
        folder = self._folder / "progress" / uuid.uuid4().hex[:12]
        folder.mkdir(parents=True)
        try:
            yield Files(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def slots(self, work: Work, count: int, size: int = 1) -> Sequence[Slot]:
        return [_Submitted(self._submitit) for _ in range(count)]

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Submit what is started in the block as one array.

        Raises:
            UserError: SLURM refuses it.
        """
        try:
            with self._submitit.batch():
                yield
        except FailedJobError as error:
            raise UserError(
                f"SLURM refuses these jobs: {' '.join(str(error).split())[-300:]}: change execute"
            ) from error

    def look(self, futures: Sequence[Future[Result]]) -> None:
        time.sleep(LOOK_EVERY_S)


class _Submitted(Slot):
    """A job of SLURM's, which has the face of a future."""

    def __init__(self, executor: submitit.AutoExecutor) -> None:
        self._executor = executor
        self._job: submitit.Job[Result] | None = None

    def start(self, call: Call) -> list[Future[Result]]:
        self._job = self._executor.submit(call)
        return [self._job]  # type: ignore[list-item]

    def why_ended(self, future: Any, error: BaseException) -> GenrobustError:
        return BadLuck(  # submitit says at length where its logs are
            f"its job {future.job_id} ended early ({future.state.lower()}), see {future.paths.stderr}: "
            f"{one_line(error)}"
        )

    def end(self) -> None:
        if self._job is not None:
            with suppress(Exception):  # it has ended, or was never submitted
                self._job.cancel()
            self._job = None


def _hardware(kind: str) -> Hardware:
    """Return the hardware of the node that runs this: `hardware` itself is a cached function."""
    return hardware(kind)
