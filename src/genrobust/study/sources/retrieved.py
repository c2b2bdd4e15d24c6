"""Images that are retrieved from the training data of the generator, in the numbers of the generated ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from genrobust.core import RETRIEVED, RETRIEVED_BY_CLASS, ImageSet, Subset, UserError, digest, prefix, some_of
from genrobust.data import filled_quotas, retrieve
from genrobust.study.context import Context
from genrobust.study.sources.source import GivenImages, ImageSource


@dataclass
class RetrievedImages(ImageSource):
    """Images retrieved by class and, where `match_styles`, by style.

    They are matched to those of `first`; without it, all images that there are to retrieve are taken.
    """

    context: Context
    first: ImageSource | None
    match_styles: bool

    @cached_property
    def pool(self) -> ImageSet:
        """The images to retrieve from: the generator's training data.

        Raises:
            UserError: There are none, or none of a class of which images are generated.
        """
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
    def datasets(self) -> Sequence[str]:
        return () if self.first is None else self.first.datasets

    @property
    def _per_class(self) -> int | None:
        return self.context.recipe.data.retrieved.per_class

    @property
    def identity(self) -> str:
        pool, first, per_class = self.pool, self.first, self._per_class
        more: list[Any] = [] if per_class is None else [per_class]
        given = [first.images] if isinstance(first, GivenImages) else []
        if any(images.as_stored for images in (pool, *given)):
            more.append("in fair order")
        by_class = first is not None and not self.match_styles
        rule = [first and first.identity, RETRIEVED_BY_CLASS if by_class else RETRIEVED]
        return digest([pool.fingerprint, *rule, *more])

    @property
    def class_counts(self) -> np.ndarray:
        wanted = self.context.count_by_class(self.pool) if self.first is None else self.first.class_counts
        return wanted if self._per_class is None else np.minimum(wanted, self._per_class)

    @property
    def is_made(self) -> bool:
        return self.first is None or self.first.is_made

    @cached_property
    def _targets(self) -> ImageSet:
        """The images that retrieved ones are matched to; those to retrieve from where no generated ones are mixed."""
        images = self.pool if self.first is None else self.first.images
        return images if self._per_class is None else Subset(images, prefix(images, self._per_class))

    @cached_property
    def images(self) -> ImageSet:
        if self.first is None:
            return self._targets
        return retrieve(self.pool, self._targets, self.match_styles)

    def report(self) -> str:
        """Say how many images were retrieved, and how well that matched the styles."""
        if self.first is None or not self.match_styles:
            return ""
        retrieved, wanted = self.images, self._targets
        said = f"Retrieval found {len(retrieved):,} images for {len(wanted):,} generated ones"
        said += " (some classes ran short)" if len(retrieved) < len(wanted) else ""
        if any(wanted.styles):
            said += f" and filled {100 * filled_quotas(retrieved, wanted):.0f} % of the quotas of class and style"
        return f"{said}."
