"""The stage that mixes the weights of pretrained networks with those that fine-tuning made of them (WiSE-FT)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genrobust.classifiers import read_checkpoint_info
from genrobust.core import resolve_device
from genrobust.study.estimates import Cost
from genrobust.study.executors.jobs import DoJobs, Job
from genrobust.study.sources.checkpoints import Checkpoints, PlannedCheckpoint
from genrobust.study.stages.stage import Stage
from genrobust.study.training_runs import TrainingRun


class Interpolate(Stage):
    """Makes the classifiers of `runs`, each between a pretrained network and one that is fine-tuned already."""

    name = "interpolate"
    title = "mixing weights"
    items = unit = "classifiers"

    def __init__(self, checkpoints: Checkpoints, runs: Sequence[TrainingRun], needs: Sequence[Stage] = ()) -> None:
        super().__init__(checkpoints.context, needs)
        self.checkpoints, self.runs = checkpoints, tuple(runs)

    def jobs(self) -> list[Job]:
        jobs: dict[Path, Job] = {}
        for planned in map(self.checkpoints.of, self.runs):
            left, folder = int(not planned.is_trained or _is_outdated(planned)), planned.folder
            name, row = f"the weights of {planned.run.name}", "weights between two"
            jobs.setdefault(folder, Job(planned.run, name, left, row=row, folder=folder, total=1, unit=self.items))
        return list(jobs.values())

    def load(self) -> DoJobs:
        from genrobust.classifiers import interpolate_checkpoint

        def mix(runs: Sequence[TrainingRun]) -> None:
            for planned in map(self.checkpoints.of, runs):
                interpolate_checkpoint(
                    planned.tuned.folder,
                    planned.run.alpha,
                    planned.folder,
                    self.context.data.val,
                    2 * planned.settings.batch_size,
                    resolve_device(self.context.recipe.device),
                    planned.inputs,
                )

        return mix

    def cost(self, job: Job) -> Cost:
        """Return the cost of a classifier: it answers the validation images, and its weights are written."""
        size = self.checkpoints.of(job.key).size
        answers = size.multiply_adds * len(self.context.data.val)
        return Cost(answers + size.parameters / 1e9, disk=4 * size.parameters)


def _is_outdated(planned: PlannedCheckpoint) -> bool:
    """Return whether its fine-tuned weights were trained anew since, on images that were made again."""
    if not planned.tuned.is_trained:
        return False
    one, other = (read_checkpoint_info(each.folder).training.get("run") for each in (planned, planned.tuned))
    return one != other
