"""A source of images that the arms of a study mix, and the simplest one: images that are there before it begins."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from genrobust.core import ImageSet
from genrobust.study.context import Context, Rebuilt


class ImageSource(Rebuilt, ABC):
    """Images that arms mix under one name, made or not."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """A hash of all that the images depend on, before they are made."""

    @property
    @abstractmethod
    def class_counts(self) -> np.ndarray:
        """The number of images of each class, int [K]; before they are made, if none is left out or runs short."""

    @property
    def is_made(self) -> bool:
        """Whether they are made; fetches what another machine made."""
        return True

    @property
    @abstractmethod
    def images(self) -> ImageSet:
        """The images, once they are made."""

    @property
    def datasets(self) -> Sequence[str]:
        """The names of the generated datasets that they are made of."""
        return ()

    def report(self) -> str:
        """Say how many of the wanted images were found, once they are; "" where none were looked for."""
        return ""


class GivenImages(ImageSource):
    """Images that are there before a study begins, such as the real ones and those under data.extra."""

    def __init__(self, context: Context, images: ImageSet) -> None:
        self.context, self._images = context, images

    @property
    def images(self) -> ImageSet:
        return self._images

    @property
    def identity(self) -> str:
        return self.images.fingerprint

    @property
    def class_counts(self) -> np.ndarray:
        return self.context.count_by_class(self.images)
