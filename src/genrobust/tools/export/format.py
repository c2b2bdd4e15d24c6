"""The interfaces of export formats, and the table of all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from genrobust.core import Registry

if TYPE_CHECKING:
    from genrobust.classifiers import CheckpointInfo, Classifier
    from genrobust.tools.export.dataset import Content


class Format(ABC):
    """A layout of images and their columns that other programs read.

    Attributes:
        files: A glob of the files that hold the images.
        usage: Python that loads an export, called ``FOLDER`` in it.
        note: A hint for readers of the files.
    """

    files: ClassVar[str]
    usage: ClassVar[str]
    note: ClassVar[str]

    @abstractmethod
    def write(self, content: Content, folder: Path) -> None:
        """Write all images into `folder`; the same images give the same bytes.

        Raises:
            GenrobustError: An image has changed since it was written.
        """


class ClassifierFormat(ABC):
    """A layout of a trained classifier that other programs read.

    Attributes:
        library: The name of the library that loads it, as model cards on the hub call it.
        opened_as: The name by which `open_classifier` opens an export in ``{}``.
        packages: The optional packages that it needs, all of the extra called `library`.
    """

    library: ClassVar[str]
    opened_as: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def write(self, model: Classifier, info: CheckpointInfo, folder: Path) -> None:
        """Write the classifier into `folder`.

        Raises:
            UserError: The format cannot hold this classifier.
        """

    @abstractmethod
    def usage(self, info: CheckpointInfo) -> str:
        """Return Python that loads an export, called ``FOLDER``, and classifies an image."""


FORMATS: Registry[type[Format] | type[ClassifierFormat]] = Registry(
    "format of --to", "genrobust.formats", "genrobust.tools.export.formats"
)
