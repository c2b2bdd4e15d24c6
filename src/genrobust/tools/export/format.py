"""The interface of an export format, and the table of all of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from genrobust.core import Registry, UserError, parse_yaml
from genrobust.recipe import Section, checked
from genrobust.tools.export.parts import Content

Json = dict[str, Any]


class Format(Section):
    """A layout of images and their columns that other programs read. Its fields are its options.

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


FORMATS: Registry[type[Format]] = Registry("format of --to", "genrobust.formats", "genrobust.tools.export.formats")


def open_format(name: str, options: Sequence[str] = ()) -> Format:
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
