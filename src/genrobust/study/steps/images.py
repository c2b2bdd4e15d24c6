"""Steps whose images arms mix, the images that exist before a study begins, and the parts of a mixture."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from genrobust.core import REAL, RETRIEVED_ALL, RETRIEVED_WITHHELD, ImageSet, Subset, UserError
from genrobust.data import list_cells, withheld_cells
from genrobust.recipe import GENERATED, MixturePart
from genrobust.study.steps.step import Step


@dataclass(frozen=True, eq=False, repr=False)
class ImageStep(Step):
    """A step that makes a source of images for arms."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """A hash of everything that the images depend on, known before they are made."""

    @property
    @abstractmethod
    def class_counts(self) -> np.ndarray:
        """The number of images per class, int [K]; before they are made, without losses to filters and retrieval."""

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of the generated datasets that the images come from."""
        return ()

    @abstractmethod
    def open_made(self) -> ImageSet:
        """Open the images, which are made already."""

    def fetch_files(self) -> None:
        """Fetch the files of generated images from a remote folder, before a training reads them one by one."""

    def describe_found(self, images: ImageSet) -> str:
        """Describe how many of the wanted images were found, which are `images`; "" if none were looked for."""
        del images
        return ""

    def open(self) -> ImageSet:
        """Open the images, which are made already. The first call logs how many of the wanted images were found."""
        return self._opened

    @cached_property
    def _opened(self) -> ImageSet:
        images = self.open_made()
        found = self.describe_found(images)
        if found:
            self.context.log(found)
        return images


@dataclass(frozen=True, eq=False, repr=False)
class ExistingImages(ImageStep):
    """Base of the images that nothing has to make: a step without items."""

    title = stage = row = ""
    folder = None

    @property
    def key(self) -> object:
        return self.identity


@dataclass(frozen=True, eq=False, repr=False)
class GivenImages(ExistingImages):
    """Images that exist before a study begins, such as the real images and data.extra, by their `name`."""

    name: str

    @cached_property
    def images(self) -> ImageSet:
        data = self.context.data
        others = {
            REAL: data.train,
            GENERATED: data.generated,
            RETRIEVED_ALL: data.retrieval,
            RETRIEVED_WITHHELD: data.withheld,
        }
        images = {**data.extra, **data.unlabeled, **others}[self.name]
        if images is None:
            raise UserError(f"an arm mixes {self.name}, but this data has no such images: see data.retrieved")
        return images

    @property
    def identity(self) -> str:
        return self.images.fingerprint

    @property
    def class_counts(self) -> np.ndarray:
        return self.context.count_by_class(self.images)

    def is_made(self) -> bool:
        return True

    def open_made(self) -> ImageSet:
        return self.images


@dataclass(frozen=True)
class MixedImages:
    """The images of one part of a mixture: all images of `source`, or only the images in withheld cells."""

    part: MixturePart
    source: ImageStep

    @property
    def name(self) -> str:
        """The name of the images: of the source, and of its cells if not all are meant."""
        if self.part.cells == "all":
            return self.part.source
        return f"{self.part.source}, {self.part.cells} cells"

    @property
    def inputs(self) -> list[Any]:
        """Everything that the drawn images depend on."""
        part = self.part
        drawing = part.drawing
        if "cells" in drawing:
            drawing["cells"] = sorted(withheld_cells(self.source.context.data))
        drawn = [drawing] if drawing else []
        return [self.source.identity, part.weight, part.per_class, part.fraction, *drawn]

    def open(self) -> ImageSet:
        """Open the images, which are made already."""
        images = self.source.open()
        if self.part.cells == "all":
            return images
        withheld = withheld_cells(self.source.context.data)
        return Subset(images, [i for i, cell in enumerate(list_cells(images)) if cell in withheld])

    def count_classes(self) -> np.ndarray:
        """Count the images per class, int [K]; before they are made, the planned ones."""
        if self.source.is_made():
            return self.source.context.count_by_class(self.open())
        return self.source.class_counts
