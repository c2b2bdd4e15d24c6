"""Images that are there before a study begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from genrobust.core import ImageSet
from genrobust.study.context import Context


@dataclass(frozen=True, slots=True)
class GivenImages:
    """Images that are there before a study begins, such as the real ones and those under data.extra."""

    context: Context
    images: ImageSet
    is_made: ClassVar[bool] = True
    datasets: ClassVar[tuple[()]] = ()  # that it is made of

    @property
    def identity(self) -> str:
        """A hash of the images."""
        return self.images.fingerprint

    @property
    def class_counts(self) -> np.ndarray:
        """The number of images of each class, int [K]."""
        return self.context.count_by_class(self.images)
