"""The step that mixes the weights of a pretrained network with those after fine-tuning (WiSE-FT)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from genrobust.classifiers import read_checkpoint_info
from genrobust.core import resolve_device
from genrobust.study.estimates import Cost
from genrobust.study.executors.work import Item
from genrobust.study.steps.classifier import ClassifierStep
from genrobust.study.steps.step import Step
from genrobust.study.steps.train import Train


@dataclass(frozen=True, eq=False, repr=False)
class Interpolate(ClassifierStep):
    """Makes a classifier between a pretrained network and the fine-tuned one of `tuned`, in one item."""

    title = "mixing weights"
    stage = "interpolate"
    row = "weights between two"
    counted = unit = "classifiers"
    in_batches = True

    tuned: Train

    @cached_property
    def inputs(self) -> dict[str, Any]:
        return {"tuned": self.tuned.folder.name, "wise_ft": self.run.alpha}

    def needs(self) -> tuple[Step, ...]:
        return (self.tuned,)

    def items(self) -> list[Item]:
        left = int(not self.is_made() or self._is_outdated())
        return [
            Item(key=self.run.seed, name=f"the weights of {self.run.name}", size=left, total=1, unit=self.unit),
        ]

    def _is_outdated(self) -> bool:
        """Return whether the fine-tuned weights were trained again since, on images that were made again."""
        if not self.tuned.is_made():
            return False
        mixed_run = read_checkpoint_info(self.folder).training.get("run")
        tuned_run = read_checkpoint_info(self.tuned.folder).training.get("run")
        return mixed_run != tuned_run

    def make(self, keys: Sequence[int]) -> None:
        from genrobust.classifiers import interpolate_checkpoint

        del keys
        interpolate_checkpoint(
            self.tuned.folder,
            self.run.alpha,
            self.folder,
            self.context.data.val,
            2 * self.settings.batch_size,
            resolve_device(self.context.recipe.device),
            self.inputs,
        )

    def cost(self, item: Item) -> Cost:
        """Return the cost of a classifier: it predicts the validation images, and its weights are written."""
        size = self.size
        predicting = size.multiply_adds * len(self.context.data.val)
        return Cost(predicting + size.parameters / 1e9, disk=4 * size.parameters)
