"""The interfaces of export formats, and the table of all of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from genrobust.core import Registry, UserError, parse_yaml
from genrobust.recipe import Section, checked

if TYPE_CHECKING:
    from genrobust.classifiers import CheckpointInfo, Classifier
    from genrobust.tools.export.content import Content

Json = dict[str, Any]


class Format(Section):
    """A layout of images and their columns that other programs read. Its fields are its options.

    Attributes:
        files: A glob of the files of a part, with ``{}`` for the part's name.
        usage: Python that loads an export, called ``FOLDER`` in it.
        note: A hint for readers of the files.
    """

    files: ClassVar[str]
    usage: ClassVar[str]
    note: ClassVar[str]

    @abstractmethod
    def write(self, content: Content, folder: Path, advance: Callable[[], object]) -> None:
        """Write all images into `folder`, and call `advance` after each; the same images give the same bytes.

        Raises:
            GenrobustError: An image has changed since it was written.
        """

    def features(self, content: Content) -> list[Json]:
        """List the columns as a dataset card does; [] where the files' names alone say what they hold."""
        return []


class ClassifierFormat(Section):
    """A layout of a trained classifier that other programs read. Its fields are its options.

    Attributes:
        library: The name of the library that loads it, as model cards on the hub call it.
        opened_as: The name by which `open_classifier` opens an export in ``{}``.
    """

    library: ClassVar[str]
    opened_as: ClassVar[str]

    def check(self, info: CheckpointInfo) -> None:
        """Raise UserError for a classifier that the format cannot hold."""

    @abstractmethod
    def write(self, model: Classifier, info: CheckpointInfo, folder: Path) -> None:
        """Write the classifier into `folder`."""

    @abstractmethod
    def usage(self, info: CheckpointInfo) -> str:
        """Return Python that loads an export, called ``FOLDER``, and classifies an image."""


FORMATS: Registry[type[Format] | type[ClassifierFormat]] = Registry(
    "format of --to", "genrobust.formats", "genrobust.tools.export.formats"
)


def open_format(name: str, options: Sequence[str] = ()) -> Format | ClassifierFormat:
    """Return the format called `name` with `options`, texts such as ``size=8``, whose values are YAML.

    Raises:
        UserError: There is no such format, or it has no such option or value.
    """
    values = {}
    for text in options:
        key, sign, value = text.partition("=")
        if not sign:
            raise UserError(f"--option {text}: write KEY=VALUE")
        values[key] = parse_yaml(value, f"--option {key}: the value")
    try:
        return checked(FORMATS.get(name), values, f"--to {name}: --option")
    except ValueError as error:
        raise UserError(str(error)) from None


def columns(content: Content, label: Any) -> list[Json]:
    """List ``image`` and the other columns with their types, as a dataset card does; `label` is the type of labels."""
    types = {f.name: {"double": "float64"}.get(str(f.type), str(f.type)) for f in content.schema}
    return [{"name": name, "dtype": dtype} for name, dtype in {"image": "image", **types, "label": label}.items()]
