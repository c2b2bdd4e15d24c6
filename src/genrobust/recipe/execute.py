"""Where the jobs of a study run."""

from __future__ import annotations

from genrobust.core import Registry
from genrobust.recipe.section import Choice

EXECUTORS: Registry[type[ExecuteConfig]] = Registry(
    "executor", "genrobust.executors", "genrobust.study.executors.kinds"
)


class ExecuteConfig(Choice):
    """Where the jobs of a study run, and what each takes there. It changes no results or folder names.

    `executor` is `local`, `slurm`, `ray`, or that of another package. ``--executor``, ``--workers`` and ``--address``
    set these keys for one command.
    """

    chosen_by = "executor"
    registry = EXECUTORS

    executor: str = "local"
