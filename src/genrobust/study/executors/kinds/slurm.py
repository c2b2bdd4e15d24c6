"""The jobs of a SLURM cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from genrobust.core import require_packages
from genrobust.recipe import CORES, EXECUTORS, Between, Recipe, Threads, WorkerCount
from genrobust.study.executors.local import ExecutorConfig, Local


@EXECUTORS.register("slurm")
class SlurmConfig(ExecutorConfig):
    """Jobs of a SLURM cluster, one array for each stage, submitted by a machine that shares the output folder.

    `cluster: local` starts the same jobs as processes of this machine, to try the settings.

    `minutes` is the limit of a job. What SLURM ends early is submitted again and resumes.

    `at_once` is the number of jobs at the same time.

    `num_cpus` None takes `threads`.

    `num_gpus` None takes one if the device is cuda, else none.
    """

    cluster: Literal["slurm", "local"] = "slurm"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    minutes: Annotated[int, Between(1, 60 * 24 * 365, "no cluster lets a job run for a year")] = 24 * 60
    memory_gb: Annotated[float, Between(0, 10_000, "no node has more", above=True)] = 16.0
    num_cpus: Threads | None = None
    num_gpus: Annotated[int, Between(0, 64, CORES)] | None = None
    at_once: WorkerCount = 64

    def open(self, recipe: Recipe, out: Path) -> Local:
        require_packages(["submitit"], "slurm", "--executor slurm")
        from genrobust.study.executors.slurm import Slurm

        slurm = {"partition": self.partition, "account": self.account, "qos": self.qos}
        limits: dict[str, str | float] = {
            "timeout_min": self.minutes,
            "mem_gb": self.memory_gb,
            "cpus_per_task": self.num_cpus or recipe.threads,
        }
        limits |= {f"slurm_{key}": value for key, value in slurm.items() if value is not None}
        return Slurm(recipe, out, self.cluster, self.at_once, self.num_gpus, limits)
