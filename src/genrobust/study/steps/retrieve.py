"""Images that are retrieved from the training data of the generator, as many as generated ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from genrobust.core import RETRIEVED, RETRIEVED_BY_CLASS, ImageSet, Subset, UserError, digest, prefix, some_of
from genrobust.data import filled_quotas, retrieve
from genrobust.study.steps.images import ExistingImages, GivenImages, ImageStep
from genrobust.study.steps.step import Step


@dataclass(frozen=True, eq=False, repr=False)
class Retrieve(ExistingImages):
    """Images retrieved by class and, if `match_styles`, by style. Opening them is fast, so nothing is saved.

    They are matched to the images of `first`. Without it, all images of the pool are taken.
    """

    first: ImageStep | None
    match_styles: bool

    @cached_property
    def pool(self) -> ImageSet:
        """The images to retrieve from: the generator's training data."""
        data = self.context.data
        if data.retrieval is None:
            raise UserError("an arm mixes retrieved images, but this data has none: name a folder under data.retrieved")
        if self.first is not None:
            missing = (self.first.class_counts > 0) & (self.context.count_by_class(data.retrieval) == 0)
            if missing.any():
                raise UserError(
                    f"data.retrieved: no image shows {some_of(data.labels.names[k] for k in np.flatnonzero(missing))}, "
                    "of which images are generated: add some, or leave out the arms that mix retrieved images"
                )
        return data.retrieval

    @property
    def datasets(self) -> tuple[str, ...]:
        return () if self.first is None else self.first.datasets

    @property
    def _per_class(self) -> int | None:
        return self.context.recipe.data.retrieved.per_class

    @cached_property
    def identity(self) -> str:
        pool = self.pool
        first = self.first
        is_by_class = first is not None and not self.match_styles
        rule = RETRIEVED_BY_CLASS if is_by_class else RETRIEVED
        inputs: list[Any] = [pool.fingerprint, None if first is None else first.identity, rule]
        if self._per_class is not None:
            inputs.append(self._per_class)
        given = [first.images] if isinstance(first, GivenImages) else []
        if any(images.as_stored for images in (pool, *given)):
            inputs.append("in fair order")
        return digest(inputs)

    @property
    def class_counts(self) -> np.ndarray:
        wanted = self.context.count_by_class(self.pool) if self.first is None else self.first.class_counts
        return wanted if self._per_class is None else np.minimum(wanted, self._per_class)

    def needs(self) -> tuple[Step, ...]:
        return () if self.first is None else (self.first,)

    def is_made(self) -> bool:
        return self.first is None or self.first.is_made()

    @cached_property
    def _targets(self) -> ImageSet:
        """The images that retrieved ones are matched to, which are made already."""
        images = self.pool if self.first is None else self.first.open()
        return images if self._per_class is None else Subset(images, prefix(images, self._per_class))

    def open_made(self) -> ImageSet:
        if self.first is None:
            return self._targets
        return retrieve(self.pool, self._targets, self.match_styles)

    def fetch_files(self) -> None:
        if self.first is not None:
            self.first.fetch_files()

    def describe_found(self, images: ImageSet) -> str:
        """Describe how many images were retrieved, and how well they match the styles."""
        if self.first is None or not self.match_styles:
            return ""
        wanted = self._targets
        said = f"Retrieval found {len(images):,} images for {len(wanted):,} generated ones"
        if len(images) < len(wanted):
            said += " (some classes ran short)"
        if any(wanted.styles):
            said += f" and filled {100 * filled_quotas(images, wanted):.0f} % of the quotas of class and style"
        return f"{said}."
