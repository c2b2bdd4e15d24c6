"""What reads real images: the sources of studies, and the kinds of shifted test sets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from genrobust.core import ImageSet, Line, StudyData, UserError, some_of
from genrobust.data.class_subset import of_classes
from genrobust.data.classes import FolderClasses
from genrobust.data.folders import open_images
from genrobust.data.grouping import with_groups, with_styles
from genrobust.data.hub_sets import fetch_dataset
from genrobust.data.stored import open_stored, open_unlabeled, require_there
from genrobust.recipe import DataConfig, Place, ShiftConfig

OWN_SETS = ("train", "val", "test")  # keys of a source that has them, as paths


class DataSource(DataConfig, ABC):
    """A source of a study's images, which ``data.source`` names: the section `data` with the keys of the source."""

    @classmethod
    def recognizes(cls, folder: Path) -> bool:
        """Return whether `folder` is this published set, which then needs no other key than `root`."""
        return False

    @abstractmethod
    def load(self) -> tuple[StudyData, FolderClasses]:
        """Return the study's own images and their classes; the shifts and others that the section names are added.

        Raises:
            UserError: A key, a folder, a file or a class is wrong; the message names it.
        """


class Reader(ShiftConfig, ABC):
    """A kind of shifted test set, which ``data.shifts.NAME.kind`` names: the section of a set, with its own keys.

    Accuracies on a set are over its own classes, with logits restricted to these, and are paired with the accuracy on
    the clean images of the same classes.
    """

    path: Place

    @abstractmethod
    def open(self, name: str, classes: FolderClasses, same_class: Mapping[str, str]) -> Mapping[str, ImageSet]:
        """Return the test sets by name that the shift called `name` stands for: one as a rule.

        Args:
            classes: The classes of the study.
            same_class: The training folder that a folder means, or "" to leave it out.

        Raises:
            UserError: A folder, a file or a class is wrong; the message names it.
        """

    def line(self) -> Line | None:
        """Return the baseline line that is published for such a set; None where there is none."""
        return None


class DerivedSets(ShiftConfig, ABC):
    """A kind of shifted test set that is made from another test set of the study, and has no files of its own."""

    @abstractmethod
    def make(self, name: str, tests: Mapping[str, ImageSet], clean: str) -> Mapping[str, ImageSet]:
        """Return the test sets by name that the shift called `name` stands for.

        Args:
            tests: The test sets of the study, those that are made from others not among them.
            clean: The name of the one that is not shifted.

        Raises:
            UserError: A key is wrong.
        """


def with_derived(data: StudyData, config: DataConfig) -> StudyData:
    """Return `data` with the test sets that are made from others.

    `load_data` leaves them out: what looks for copies among the images has seen what they are made from.

    Raises:
        UserError: A key is wrong, or two test sets have the same name.
    """
    made: dict[str, ImageSet] = {}
    for name, shift in config.shifts.items():
        if isinstance(shift, DerivedSets):
            _add(made, shift.make(name, data.tests, data.clean), {*data.tests})
    return replace(data, tests={**data.tests, **made}, derived=tuple(made)) if made else data


def _add(tests: dict[str, ImageSet], more: Mapping[str, ImageSet], taken: Collection[str]) -> None:
    for name, images in more.items():
        if name in taken or name in tests:
            raise UserError(f"data.shifts: another set is called {name!r}: rename this one")
        tests[name] = images


def load_data(config: DataConfig) -> StudyData:
    """Load the study's images, wherever `config` says they come from, without those of `with_derived`.

    Raises:
        UserError: A key, a folder, a file or a class is wrong, two test sets have the same name, or a key of
            `same_class` is a folder or label of no set.
    """
    assert isinstance(config, DataSource), f"{type(config)} is registered as a source and extends no DataSource"
    require_there(config.places)
    if isinstance(root := getattr(config, "root", None), Path):  # other places are fetched where they are opened
        config = config.model_copy(update={"root": fetch_dataset(root)})
    data, classes = config.load()
    if config.known_labels() is None:  # else the source has read these classes alone
        data, classes = of_classes(data, classes, config.classes)
    tests = dict(data.tests)
    for name, shift in config.shifts.items():
        if not isinstance(shift, DerivedSets):
            _add(tests, read_shift(name, shift, classes, config.same_class), OWN_SETS)
    _require_apart(config)
    extra = {
        name: read_shift(name, _folders(path), classes, config.same_class)[name] for name, path in config.extra.items()
    }
    data = replace(data, tests=tests, extra=extra)
    if config.generated is not None:
        stored = open_stored(config.generated)
        data = replace(data, generated=open_images("generated", stored, classes, config.same_class, by_name=True))
    if (path := config.retrieved.path) is not None:
        data = replace(data, retrieval=open_images("retrieved", open_stored(path), classes, config.same_class))
    if (pool := config.retrieved.search) is not None:
        data = replace(data, unlabeled=open_unlabeled("data.retrieved.search", pool))
    if unused := config.same_class.keys() - classes.used:
        raise UserError(
            f"data.same_class: no other set than the training images has a folder or label {some_of(sorted(unused))}: "
            "write it as it is there, or remove the key"
        )
    return with_groups(with_styles(data, config.styles), config.groups)


def _require_apart(config: DataConfig) -> None:
    """Raise UserError where two of the training, validation and test sets, or a test set and another, have one path."""
    sets = [(key, path, _folders(path)) for key in OWN_SETS if (path := getattr(config, key, None)) is not None]
    sets += [
        (f"shifts.{name}", shift.path, shift) for name, shift in config.shifts.items() if isinstance(shift, Reader)
    ]
    first: dict[tuple[Path, str], str] = {}
    scored: dict[Path, str] = {}
    for key, path, read_as in sets:
        other = first.setdefault((path.resolve(), read_as.model_dump_json(exclude={"path"})), key)
        if other != key:
            raise UserError(f"data.{other} and data.{key} are one path, {path}: give each set images of its own")
        if key == "test" or key not in OWN_SETS:
            scored[path.resolve()] = f"data.{key}"
    of_tests = {"data.test", *(f"data.shifts.{name}.path" for name in config.shifts)}
    for key, path in config.places.items():
        if key not in of_tests and key != "data.root" and (test := scored.get(path.resolve())) is not None:
            raise UserError(f"{key} and {test} are one path, {path}: nothing may be learned from test images")


def read_shift(
    name: str, shift: ShiftConfig, classes: FolderClasses, same_class: Mapping[str, str]
) -> Mapping[str, ImageSet]:
    """Return the test sets that the shift called `name` stands for, as its reader opens them."""
    return _as_reader(shift).open(name, classes, same_class)


def published_line(name: str, shift: ShiftConfig) -> Line | None:
    """Return the baseline line that is published for the shift called `name`; None where there is none."""
    line = None if isinstance(shift, DerivedSets) else _as_reader(shift).line()
    return None if line is None else replace(line, test_set=name)


def _folders(path: Path) -> Reader:
    return _as_reader(ShiftConfig.model_validate({"path": path}))


def _as_reader(shift: ShiftConfig) -> Reader:
    assert isinstance(shift, Reader), (
        f"{type(shift)} is registered as a reader and extends neither Reader nor DerivedSets"
    )
    return shift
