"""Work in this process: all jobs at once, and the first failure ends it."""

from __future__ import annotations

import time
from collections.abc import Callable

from genrobust.classifiers import choose_precisions
from genrobust.core import UserError, counting, device_kind, hardware, progress_bar, resolve_device
from genrobust.recipe import Recipe
from genrobust.study.executors.jobs import Work


class Local:
    """This process. Loading and writing in the background continue from one job to the next."""

    here = True

    def placed(self, recipe: Recipe, say: Callable[[str], None] = lambda line: None) -> Recipe:
        """Return `recipe` with the precisions of this machine.

        Raises:
            UserError: This machine has no such device.
        """
        if recipe.device not in ("auto", "cpu"):
            resolve_device(recipe.device)
        kind = device_kind(recipe.device)
        return choose_precisions(recipe, lambda: hardware(kind), say)

    def require(self, workers: int) -> None:
        """Raise UserError where more than one of `workers` should do a job together."""
        if workers > 1:
            raise UserError(
                f"train.workers: {workers} workers train one classifier together, and this process is one: use the "
                "executor Processes or Ray, or set train.workers to 1"
            )

    def workers(self) -> int:
        """One."""
        return 1

    def prepare(self) -> None:
        """Nothing: this process loads what it needs when it does a job."""

    def run(self, work: Work) -> None:
        """Do the jobs in their order; the first that fails ends the work.

        Raises:
            UserError: A job needs several workers together; raised before any job.
            Exception: Whatever the first job that fails raises.
        """
        if not work.jobs:
            return
        self.require(max(job.workers for job in work.jobs))
        bar = progress_bar(work.what, work.size, work.unit, seconds=work.seconds)
        with bar as shown, counting(work.unit, shown.advance):
            do = work.load()
            began = time.monotonic()
            do([job.key for job in work.jobs])
            work.ended(work.jobs, time.monotonic() - began)
