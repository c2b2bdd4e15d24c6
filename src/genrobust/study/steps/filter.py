"""The step that filters a generated dataset: it lists the images that arms do not mix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.classifiers import hash_clip
from genrobust.core import ImageSet, Subset, digest
from genrobust.data import Review, ShardDataset, kept_indices, read_filter, write_reviewed
from genrobust.recipe import FilterConfig
from genrobust.store import Artifact, artifact_folder
from genrobust.study.estimates import Cost
from genrobust.study.executors.work import Item
from genrobust.study.steps.classifier import ClassifierStep
from genrobust.study.steps.generate import Generate
from genrobust.study.steps.images import ImageStep
from genrobust.study.steps.step import Step


@dataclass(frozen=True, eq=False, repr=False)
class Filter(ImageStep):
    """Lists the images of `dataset` that `rule` rejects, in one item.

    The `judge` is the folder of a CLIP, a classifier of the study, or the review of a person.
    """

    title = "filtering"
    stage = "filter"

    dataset: Generate
    rule: FilterConfig
    judge: Path | ClassifierStep | Review

    @property
    def row(self) -> str:
        return self.dataset.name

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """Everything that the list depends on."""
        inputs: dict[str, Any] = {
            "dataset": self.dataset.identity,
            # File, CLIP and arm are identified by their content.
            "rule": self.rule.model_dump(mode="json", exclude={"file", "clip", "arm"}),
            "judge": self._judge_identity,
        }
        # The dataset's own prompts are among its inputs already.
        if self.rule.by == "clip" and not self.dataset.is_described:
            inputs["texts"] = digest(self.dataset.class_texts)
        return inputs

    @property
    def _judge_identity(self) -> str:
        if isinstance(self.judge, Review):
            return digest(self.judge.rejected)
        if isinstance(self.judge, ClassifierStep):
            return self.judge.folder.name
        return hash_clip(self.judge)

    @cached_property
    def folder(self) -> Path:
        return artifact_folder(self.context.out / "filters", self.rule.by, self.inputs)

    @property
    def identity(self) -> str:
        return self.folder.name

    @property
    def class_counts(self) -> np.ndarray:
        return self.dataset.class_counts

    @property
    def datasets(self) -> tuple[str, ...]:
        return self.dataset.datasets

    def needs(self) -> tuple[Step, ...]:
        if isinstance(self.judge, ClassifierStep):
            return (self.dataset, self.judge)
        return (self.dataset,)

    def is_made(self) -> bool:
        return self.dataset.is_made() and super().is_made()

    def open_made(self) -> ImageSet:
        made = self.dataset.open_made()
        return Subset(made, kept_indices(made, read_filter(Artifact(self.folder).fetch().folder)))

    def fetch_files(self) -> None:
        self.dataset.fetch_files()

    def items(self) -> list[Item]:
        name = self.dataset.name
        total = int(self.class_counts.sum())
        # The list may be made before its dataset is fetched.
        size = 0 if super().is_made() else total
        return [Item(key=name, name=f"the filter of {name}", size=size, total=total)]

    @property
    def alone(self) -> bool:
        # The review of a person is only copied.
        return isinstance(self.judge, Review)

    def make(self, keys: Sequence[str]) -> None:
        del keys
        self.dataset.fetch_files()
        if isinstance(self.judge, Review):
            write_reviewed(ShardDataset(self.dataset.folder), self.judge, self.folder, self.inputs)
        else:
            self._filter_by_score()

    def _filter_by_score(self) -> None:
        # Import late: scoring loads torch.
        from genrobust.study.filter_scores import ScoreFilter

        judge = self.judge.folder if isinstance(self.judge, ClassifierStep) else self.judge
        # A review has no scores.
        assert isinstance(judge, Path)
        score_filter = ScoreFilter(
            dataset=self.dataset.folder,
            rule=self.rule,
            judge=judge,
            labels=self.context.data.labels,
            class_texts=self.dataset.class_texts,
            folder=self.folder,
            inputs=self.inputs,
        )
        recipe = self.context.recipe
        score_filter.run(recipe.evaluate.batch_size, recipe.device)

    def finish(self, made: Sequence[Item]) -> None:
        if made:
            found = read_filter(self.folder)
            kept = f"kept {found.kept:,} of {found.made:,} images of {self.dataset.name}"
            self.context.log(f"{kept}, by {found.by}")

    def cost(self, item: Item) -> Cost:
        if isinstance(self.judge, Review):
            return Cost(0)
        if isinstance(self.judge, ClassifierStep):
            return Cost(self.judge.size.multiply_adds)
        return Cost(1, of=f"CLIP {self.rule.clip}")
