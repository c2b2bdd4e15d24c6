"""Jobs of a SLURM cluster, submitted by submitit: each batch of steps is one array."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StrictFloat, StrictInt

from genrobust.classifiers import choose_precisions
from genrobust.core import Hardware, UserError, device_kind, digest, hardware, require_packages
from genrobust.recipe import EXECUTORS, Recipe, Threads, WorkerCount
from genrobust.store import page_json, read_page_json, replacing
from genrobust.study.executors.calls import Call, run_call
from genrobust.study.executors.executor import Executor, ExecutorConfig
from genrobust.study.executors.work import Work
from genrobust.study.executors.workers import Submit, Workers

if TYPE_CHECKING:
    import submitit

FOLDER = "slurm"  # in the output folder: logs of the last jobs, and their input


@EXECUTORS.register("slurm")
class SlurmConfig(ExecutorConfig):
    """Jobs of a SLURM cluster, one array for each stage, submitted by a machine that shares the output folder.

    `cluster: local` starts the same jobs as processes of this machine, to try the settings.

    `minutes` is the limit of a job. What SLURM ends early is submitted again and resumes.

    `at_once` is the number of jobs at the same time.

    `num_cpus` None takes `threads`.

    `num_gpus` None takes one if the device is cuda, else none; on a cluster, one of both must be said.
    """

    cluster: Literal["slurm", "local"] = "slurm"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    minutes: Annotated[StrictInt, Field(ge=1, le=60 * 24 * 365)] = 24 * 60
    memory_gb: Annotated[StrictFloat, Field(gt=0, le=10_000)] = 16.0
    num_cpus: Threads | None = None
    num_gpus: Annotated[StrictInt, Field(ge=0, le=64)] | None = None
    at_once: WorkerCount = 64

    def open(self, recipe: Recipe, out: Path) -> Executor:
        require_packages(["submitit"], "slurm", "--executor slurm")
        if self.cluster == "slurm" and shutil.which("srun") is None:
            raise UserError("execute.executor: slurm: there is no srun here: run this on a login node of the cluster")
        return Slurm(self, recipe, out)


class Slurm(Workers):
    """Jobs of a SLURM cluster for `recipe`. All nodes share the folder `out` of their results."""

    here = False
    most_calls = 1000  # SLURM's default limit of an array is 1,001
    look_every_s = 2.0
    shared: Path

    def __init__(self, config: SlurmConfig, recipe: Recipe, out: Path) -> None:
        self._config = config
        self._threads = recipe.threads
        self.shared = (out / FOLDER).absolute()
        named = recipe.device.partition(":")[0]
        if named == "auto" and config.num_gpus is not None:
            named = "cuda" if config.num_gpus else "cpu"
        elif named == "auto" and config.cluster == "slurm":
            raise UserError("device: auto: a login node cannot tell whether nodes have GPUs: set it to cuda or cpu")
        self._device = device_kind(named)

    def placed(self, recipe: Recipe, say: Callable[[str], None] = lambda line: None) -> Recipe:
        """Return `recipe` with the device of the jobs, and the precisions of a node, which one job finds out."""
        return choose_precisions(recipe.model_copy(update={"device": self._device}), self._hardware, say)

    def workers(self) -> int:
        return self._config.at_once

    @contextmanager
    def pool(self, work: Work) -> Iterator[Submit]:
        executor = self._executor()
        jobs: list[Any] = []

        def submit(calls: Sequence[Call]) -> list[Any]:
            with _submitting():
                started = executor.map_array(run_call, calls)
            jobs.extend(started)
            return started

        try:
            yield submit
        finally:
            for job in jobs:
                if not job.done():
                    job.cancel(check=False)

    def _executor(self) -> submitit.AutoExecutor:
        """Configure submitit as the section `execute` says."""
        import submitit

        config = self._config
        if config.num_gpus is None:
            gpus = int(self._device == "cuda")
        else:
            gpus = config.num_gpus
        given: dict[str, Any] = {
            "slurm_partition": config.partition,
            "slurm_account": config.account,
            "slurm_qos": config.qos,
        }
        # Leave the option out without GPUs: such a cluster may refuse it.
        given |= {"gpus_per_node": gpus or None}
        executor = submitit.AutoExecutor(self.shared / "logs", cluster=config.cluster)
        executor.update_parameters(
            name="genrobust",
            timeout_min=config.minutes,
            mem_gb=config.memory_gb,
            cpus_per_task=config.num_cpus or self._threads,
            slurm_array_parallelism=config.at_once,
            **{key: value for key, value in given.items() if value is not None},
        )
        return executor

    def _hardware(self) -> Hardware:
        kind = self._device
        kept = self.shared / f"hardware-{digest([kind, self._config.model_dump(mode='json')])}.json"
        if not kept.exists():
            with _submitting():
                job = self._executor().submit(lambda: hardware(kind))
            asked = job.result()
            with replacing(kept) as file:
                file.write(page_json({"fast": sorted(asked.fast), "why": asked.why}).encode())
        said = read_page_json(kept)
        return Hardware(kind, frozenset(said["fast"]), said["why"])


@contextmanager
def _submitting() -> Iterator[None]:
    """Raise UserError if sbatch fails in the block, or its answer is not understood by submitit."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        yield
    except FailedJobError as error:
        raise UserError(f"SLURM refuses these jobs: {' '.join(str(error).split())[-300:]}: change execute") from error
    except FailedSubmissionError as error:
        answer = " ".join(str(error).split())[:300]
        raise UserError(f"sbatch submits no job: {answer}: check that it is the sbatch of SLURM") from error
