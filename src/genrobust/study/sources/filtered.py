"""A generated dataset without the images that its filter leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genrobust.classifiers import hash_clip
from genrobust.core import Artifact, ImageSet, Subset, artifact_folder, digest
from genrobust.data import Review, kept_indices, read_filter
from genrobust.recipe import FilterConfig
from genrobust.study.sources.dataset import GeneratedDataset
from genrobust.study.sources.source import ImageSource


@dataclass
class FilteredDataset(ImageSource):
    """The images of `dataset` that `rule` leaves in.

    `judge` is the folder of the CLIP or of the classifier that judges them, or the review of a person.
    """

    dataset: GeneratedDataset
    rule: FilterConfig
    judge: Path | Review

    @property
    def datasets(self) -> Sequence[str]:
        return self.dataset.datasets

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """All that the list of what is left out depends on."""
        if isinstance(self.judge, Review):
            judge = digest(self.judge.rejected)
        else:
            judge = hash_clip(self.judge) if self.rule.by == "clip" else self.judge.name
        rule = self.rule.model_dump(mode="json", exclude={"file", "clip", "arm"})  # which are known by content
        inputs: dict[str, Any] = {"dataset": self.dataset.identity, "rule": rule, "judge": judge}
        if self.rule.by == "clip" and not self.dataset.is_described:  # or they are in the dataset's own
            inputs["texts"] = digest(self.dataset.class_texts)
        return inputs

    @cached_property
    def folder(self) -> Path:
        """Where that list lies, or will lie."""
        return artifact_folder(self.dataset.context.out / "filters", self.rule.by, self.inputs)

    @property
    def identity(self) -> str:
        return self.folder.name

    @property
    def class_counts(self) -> np.ndarray:
        return self.dataset.class_counts

    @property
    def is_done(self) -> bool:
        """Whether the list is written; fetches it where another machine wrote it."""
        return Artifact(self.folder).fetch().is_finished

    @property
    def is_made(self) -> bool:
        return self.dataset.is_made and self.is_done

    @property
    def images(self) -> ImageSet:
        made = self.dataset.images
        return Subset(made, kept_indices(made, read_filter(Artifact(self.folder).fetch().folder)))
