"""The interface of an export format, and the table of all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from genrobust.core import Registry
from genrobust.release.parts import Content

Json = dict[str, Any]
Source = tuple[str, Json]  # of a field, in Croissant: its type and what it is read from


class Format(ABC):
    """A layout of images and their columns that other programs read.

    Attributes:
        files: A glob of the files of a part, with ``{}`` for the part's name.
        usage: Python that loads an export, called ``FOLDER`` in it.
        note: What a reader of the files must know.
    """

    files: ClassVar[str]
    usage: ClassVar[str]
    note: ClassVar[str]

    @abstractmethod
    def write(self, content: Content, sizes: dict[str, int], folder: Path, advance: Callable[[], object]) -> None:
        """Write all images into `folder`; the same images give the same bytes.

        Args:
            sizes: The bytes of the images of each part.
            advance: Called after each image.

        Raises:
            GenrobustError: An image has changed since it was written.
        """

    def features(self, content: Content) -> list[Json]:
        """List the columns as a dataset card does; [] where the files' names alone say what they hold."""
        return []

    def croissant(self, content: Content, part: str, folder: Path) -> tuple[list[Json], dict[str, Source]]:
        """Describe the files of the part called `part` in `folder` as Croissant.

        Returns:
            Its distribution, and by name the type and the source of each field of its records.
        """
        return [], {}


FORMATS: Registry[type[Format]] = Registry("format of --to", "genrobust.formats", "genrobust.release.formats")


def columns(content: Content, label: Any) -> list[Json]:
    """List ``image`` and the other columns with their types, as a dataset card does; `label` is the type of labels."""
    types = {f.name: {"double": "float64"}.get(str(f.type), str(f.type)) for f in content.schema}
    return [{"name": name, "dtype": dtype} for name, dtype in {"image": "image", **types, "label": label}.items()]
