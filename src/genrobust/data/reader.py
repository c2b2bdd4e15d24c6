"""What reads real images: the sources of studies, and the kinds of shifted test sets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import ClassVar

from genrobust.core import REAL, ImageSet, Line, StudyData, UserError, some_of, with_attributes
from genrobust.data.class_subset import of_classes
from genrobust.data.classes import FolderClasses
from genrobust.data.folders import hold_back, open_images
from genrobust.data.grouping import check_groups_apart, with_groups, with_groups_apart, with_styles
from genrobust.data.hub_sets import fetch_dataset
from genrobust.data.stored import open_stored, open_unlabeled, require_there
from genrobust.recipe import DataConfig, Place, ShiftConfig

OWN_SETS = ("train", "val", "test")  # keys of a source that has them, as paths
CHOSEN_BY = 1 / 3  # the share of `data.shifted_val` that is held out, of each class


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

    derived: ClassVar[bool] = False  # whether its images are made from test images of the study: corrupted ones are

    baseline: ClassVar[Line | None] = None  # of standard models, where one is published

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
        return self.baseline


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
    return replace(data, tests={**data.tests, **made}, derived=(*data.derived, *made))


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
    _require_apart(config)
    if isinstance(root := getattr(config, "root", None), Path):  # other places are fetched where they are opened
        config = config.model_copy(update={"root": fetch_dataset(root)})
    data, classes = config.load()
    if config.known_labels() is None:  # else the source has read these classes alone
        data, classes = of_classes(data, classes, config.classes)
    tests, derived = dict(data.tests), list[str]()
    for name, shift in config.shifts.items():
        if not isinstance(shift, DerivedSets):
            reader = _as_reader(shift)
            sets = reader.open(name, classes, config.same_class)
            _add(tests, sets, OWN_SETS)
            derived += sets if reader.derived else ()
    folders = {name: _as_reader(ShiftConfig.model_validate({"path": path})) for name, path in config.extra.items()}
    extra = {name: reader.open(name, classes, config.same_class)[name] for name, reader in folders.items()}
    data = replace(data, tests=tests, extra=extra, derived=tuple(derived))
    if config.generated is not None:
        stored = open_stored(config.generated)
        data = replace(data, generated=open_images("generated", stored, classes, config.same_class, by_name=True))
    if (path := config.retrieved.path) is not None:
        retrieval = open_images("retrieved", open_stored(path), classes, config.same_class)
        data = replace(data, retrieval=retrieval)
        if config.styles is None and any(retrieval.styles) and not any(data.train.styles):
            data = replace(data, train=with_attributes(data.train, styles=[REAL] * len(data.train)))
    data = with_groups_apart(with_groups(data, config.groups), config.groups_apart or config.together)
    if config.shifted_val is not None:
        data = _hold_out_shift(data, config.shifted_val)
    if data.shifted_val is not None and data.shifted_val.name in data.tests:
        raise UserError(f"data.shifts: the shifted validation set is called {data.shifted_val.name!r}: rename this one")
    if (pool := config.retrieved.search) is not None:
        data = replace(data, unlabeled=open_unlabeled("data.retrieved.search", pool))
    if unused := config.same_class.keys() - classes.used:
        raise UserError(
            f"data.same_class: no other set than the training images has a folder or label {some_of(sorted(unused))}: "
            "write it as it is there, or remove the key"
        )
    data = check_groups_apart(data, config.groups_apart)
    return with_styles(data, config.styles)


def _hold_out_shift(data: StudyData, name: str) -> StudyData:
    """Return `data` with whole groups of the shifted test set `name` as its shifted validation set."""
    known = [shift for shift in data.shifts if shift not in data.derived]
    if name not in known:
        raise UserError(f"data.shifted_val: no shifted test set {name!r} to divide; there are {', '.join(known)}")
    if data.shifted_val is not None:
        raise UserError(f"data.shifted_val: this source has its own, {data.shifted_val.name}: leave the key out")
    images = data.tests[name]
    try:
        rest, val = hold_back(images, CHOSEN_BY, images.groups)
    except UserError:
        raise UserError(
            f"data.shifted_val: {name} cannot be divided: it is one group of images that belong together, or one image "
            "of each class: name another"
        ) from None
    val.name = f"{name}-val"
    return replace(data, tests={**data.tests, name: rest}, shifted_val=val)


def _require_apart(config: DataConfig) -> None:
    """Raise UserError where the images to test on, or to choose by, are those of another set or lie among them.

    Shifts may share a path that they read in different ways, such as ObjectNet by each of its maps, and a reader may
    read a part of its path.
    """
    shifts = {f"data.shifts.{name}.path": shift.kind for name, shift in config.shifts.items()}
    paths = {key: path.resolve() for key, path in config.places.items() if key != "data.root"}
    for key, test in product(paths, paths):
        if key == test or test not in {"data.val", "data.test", *shifts} or {key, test} <= shifts.keys():
            continue
        if paths[key] == paths[test]:
            raise UserError(f"{key} and {test} are one path, {config.places[key]}: give each set images of its own")
        for inner, outer in ((key, test), (test, key)):
            if paths[inner].is_relative_to(paths[outer]) and shifts.get(outer, "folders") == "folders":
                raise UserError(f"{inner} lies in {outer}, {config.places[outer]}: give each set images of its own")


def published_line(name: str, shift: ShiftConfig) -> Line | None:
    """Return the baseline line that is published for the shift called `name`; None where there is none."""
    line = None if isinstance(shift, DerivedSets) else _as_reader(shift).line()
    return None if line is None else replace(line, test_set=name)


def _as_reader(shift: ShiftConfig) -> Reader:
    assert isinstance(shift, Reader), f"{type(shift)} is registered as a reader and extends none"
    return shift
