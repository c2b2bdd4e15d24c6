"""The interfaces of export formats, and the table of all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from genrobust.core import Registry

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from genrobust.classifiers import CheckpointInfo, Classifier
    from genrobust.core import LabelSpace
    from genrobust.data import ShardDataset

ROWS = 1000  # rows that are read into objects at once


@dataclass(frozen=True, slots=True)
class Content:
    """The images of `shards` at `indices`, each with a row of `table`. `size` is in bytes of PNG.

    `split` is train or validation, as Hugging Face calls it.
    """

    shards: ShardDataset
    indices: np.ndarray
    table: pa.Table
    size: int
    classes: LabelSpace
    split: str

    def __len__(self) -> int:
        return len(self.indices)

    def samples(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield the columns and the PNG of each image, marked as generated, and show the progress."""
        from genrobust.core import progress_bar
        from genrobust.tools.export.origin_mark import mark_as_generated

        rows = (row for batch in self.table.to_batches(ROWS) for row in batch.to_pylist())
        with progress_bar("exporting", len(self)) as bar:
            for index, row in zip(self.indices.tolist(), rows, strict=True):
                yield row, mark_as_generated(self.shards.encoded(index))
                bar.advance()


class Format(ABC):
    """A layout of images and their columns that other programs read.

    Attributes:
        files: A glob of the files that hold the images, with ``SPLIT`` for their split.
        usage: Python that loads an export, called ``FOLDER`` in it, and its split ``SPLIT``.
    """

    files: ClassVar[str]
    usage: ClassVar[str]

    @abstractmethod
    def write(self, content: Content, folder: Path) -> None:
        """Write all images into `folder`; the same images give the same bytes."""


class ClassifierFormat(ABC):
    """A layout of a trained classifier that other programs read.

    Attributes:
        library: The library that loads it, as model cards on the hub call it.
        opened_as: The name by which `open_classifier` opens an export in the folder ``{}``.
        usage: Python that loads an export, called ``FOLDER`` in it, and classifies an image.
        packages: Packages of the extra called `library`.
    """

    library: ClassVar[str]
    opened_as: ClassVar[str]
    usage: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def write(self, model: Classifier, info: CheckpointInfo, facts: dict[str, Any], folder: Path) -> None:
        """Write the classifier into `folder`; `facts` are its classes and how images are prepared, by timm's keys."""


FORMATS: Registry[type[Format] | type[ClassifierFormat]] = Registry(
    "format of --to", "genrobust.formats", "genrobust.tools.export.formats"
)
