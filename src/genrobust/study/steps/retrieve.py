"""Images that are retrieved from the training data of the generator, as many as generated ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from genrobust.core import (
    RETRIEVED,
    RETRIEVED_ALL,
    RETRIEVED_BY_CLASS,
    ImageSet,
    Subset,
    UserError,
    digest,
    prefix,
    some_of,
)
from genrobust.data import filled_quotas, retrieve
from genrobust.study.steps.images import ExistingImages, GivenImages, ImageStep
from genrobust.study.steps.step import Step


@dataclass(frozen=True, eq=False, repr=False)
class Retrieve(ExistingImages):
    """Images retrieved by class and, if `match_styles`, by style. Opening them is fast, so nothing is saved.

    They are matched to the images of `first`. If these are the pool itself, all of them are taken.
    """

    first: ImageStep
    match_styles: bool

    @property
    def _takes_all(self) -> bool:
        return isinstance(self.first, GivenImages) and self.first.name == RETRIEVED_ALL

    @cached_property
    def pool(self) -> ImageSet:
        """The images to retrieve from: the generator's training data."""
        data = self.context.data
        if data.retrieval is None:
            raise UserError("an arm mixes retrieved images, but this data has none: name a folder under data.retrieved")
        missing = (self.first.class_counts > 0) & (self.context.count_by_class(data.retrieval) == 0)
        if missing.any():
            raise UserError(
                f"data.retrieved: no image shows {some_of(data.labels.names[k] for k in np.flatnonzero(missing))}, "
                "of which images are generated: add some, or leave out the arms that mix retrieved images"
            )
        return data.retrieval

    @property
    def datasets(self) -> tuple[str, ...]:
        return self.first.datasets

    @property
    def _per_class(self) -> int | None:
        return self.context.recipe.data.retrieved.per_class

    @cached_property
    def identity(self) -> str:
        pool = self.pool
        rule: list[Any] = [None, RETRIEVED]
        if not self._takes_all:
            rule = [self.first.identity, RETRIEVED if self.match_styles else RETRIEVED_BY_CLASS]
        inputs = [pool.fingerprint, *rule]
        if self._per_class is not None:
            inputs.append(self._per_class)
        is_as_stored = isinstance(self.first, GivenImages) and self.first.images.as_stored
        if pool.as_stored or is_as_stored:
            inputs.append("in fair order")
        return digest(inputs)

    @property
    def class_counts(self) -> np.ndarray:
        wanted = self.first.class_counts
        if self._per_class is None:
            return wanted
        return np.minimum(wanted, self._per_class)

    def needs(self) -> tuple[Step, ...]:
        return (self.first,)

    def is_made(self) -> bool:
        return self.first.is_made()

    @cached_property
    def _targets(self) -> ImageSet:
        """The images that retrieved ones are matched to, which are made already."""
        images = self.first.open()
        if self._per_class is None:
            return images
        return Subset(images, prefix(images, self._per_class))

    def open_made(self) -> ImageSet:
        if self._takes_all:
            return self._targets
        return retrieve(self.pool, self._targets, self.match_styles)

    def fetch_files(self) -> None:
        self.first.fetch_files()

    def describe_found(self, images: ImageSet) -> str:
        """Describe how many images were retrieved, and how well they match the styles."""
        if self._takes_all or not self.match_styles:
            return ""
        wanted = self._targets
        said = f"Retrieval found {len(images):,} images for {len(wanted):,} generated ones"
        if len(images) < len(wanted):
            said += " (some classes ran short)"
        if any(wanted.styles):
            said += f" and filled {100 * filled_quotas(images, wanted):.0f} % of the quotas of class and style"
        return f"{said}."
