"""The registry of what reads real images: the sources of studies and the kinds of shifted test sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from genrobust.core import ImageSet, Line, Registry, StudyData, UserError
from genrobust.data.grouping import with_groups
from genrobust.data.stored import open_unlabeled, require_there
from genrobust.recipe import DataConfig, ShiftConfig

# Each is a Source, a ShiftReader, or both.
READERS: Registry[Any] = Registry("reader", "genrobust.readers", "genrobust.data.readers")


@runtime_checkable
class Source(Protocol):
    """A reader of the images of a whole study: what ``data.source`` names."""

    def load(self, config: DataConfig) -> StudyData:
        """Return the study's images.

        Raises:
            UserError: A key, a folder, a file or a class is wrong; the message names it.
        """
        ...


@runtime_checkable
class ShiftReader(Protocol):
    """A reader of a kind of shifted test set: what ``data.shifts.NAME.kind`` names.

    Accuracies on a set are over its own classes, with logits restricted to these, and are paired with the accuracy on
    the clean images of the same classes. A reader may also have ``line(shift)``, which returns the baseline `Line` that
    is published for such a set, or None.
    """

    def open(self, name: str, shift: ShiftConfig, classes: Any, same_class: Mapping[str, str]) -> dict[str, Any]:
        """Return the test sets, each an ImageSet by its name, that the shift called `name` stands for: one as a rule.

        Args:
            classes: The `FolderClasses` of the study.
            same_class: The training folder that a folder means, or "" to leave it out.
        """
        ...


def load_data(config: DataConfig) -> StudyData:
    """Load the study's images, wherever `config` says they come from.

    Raises:
        UserError: A key, a folder, a file or a class is wrong; the message names it.
    """
    for name, shift in config.shifts.items():  # before anything is listed
        shift_reader(name, shift.kind)
    reader = READERS.get(config.source)
    if not isinstance(reader, Source):
        raise UserError(f"data.source: {config.source} is a kind of test set, not a source: name it under data.shifts")
    require_there(config.places)
    data = with_groups(reader.load(config), config.groups)
    pool = config.retrieved.search
    return data if pool is None else replace(data, unlabeled=open_unlabeled("data.retrieved.search", pool))


def shift_reader(name: str, kind: str) -> ShiftReader:
    """Return what reads the shift called `name`, of this `kind`.

    Raises:
        UserError: The kind is unknown, or a source.
    """
    reader = READERS.get(kind)
    if not isinstance(reader, ShiftReader):
        raise UserError(f"data.shifts.{name}.kind: {kind} is a source of studies, not a kind of test set")
    return reader


def read_shift(name: str, shift: ShiftConfig, classes: Any, same_class: Mapping[str, str]) -> dict[str, ImageSet]:
    """Return the test sets that the shift called `name` stands for, as its reader opens them."""
    return shift_reader(name, shift.kind).open(name, shift, classes, same_class)


def published_line(name: str, shift: ShiftConfig) -> Line | None:
    """Return the baseline line that is published for the shift called `name`; None where there is none."""
    line_of = getattr(shift_reader(name, shift.kind), "line", None)
    line: Line | None = line_of(shift) if line_of else None
    return None if line is None else replace(line, test_set=name)
