"""Load the images of a study: its source, its shifts, and further sets that a recipe names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import permutations
from pathlib import Path

from genrobust.core import REAL, ImageSet, StudyData, UserError, some_of, with_attributes
from genrobust.data.class_subset import of_classes
from genrobust.data.classes import FolderClasses
from genrobust.data.grouping import check_groups_apart, with_groups, with_groups_apart, with_styles
from genrobust.data.held_out import hold_back
from genrobust.data.hub_sets import fetch_dataset
from genrobust.data.image_kinds import DerivedSets, as_reader
from genrobust.data.stored_images import require_there
from genrobust.recipe import DataConfig

OWN_SETS = ("train", "val", "test")  # keys of a source that names its sets
SHIFTED_VAL_SHARE = 1 / 3  # share of each class of `data.shifted_val` that is held out


class DataSource(DataConfig, ABC):
    """A source of a study's images, which ``data.source`` names: the section `data` with the keys of the source."""

    @classmethod
    def recognizes(cls, folder: Path) -> bool:
        """Return whether `folder` is this published set, which then needs no other key than `root`."""
        return False

    @abstractmethod
    def load(self) -> tuple[StudyData, FolderClasses]:
        """Load the study's own images and their classes. `load_data` adds the shifts and other sets.

        Raises:
            UserError: A key, a folder, a file or a class is wrong; the message names it.
        """


def load_data(config: DataConfig) -> StudyData:
    """Load the images of a study, without the test sets that `with_derived` makes."""
    assert isinstance(config, DataSource), f"{type(config)} is registered as a source and extends no DataSource"
    require_there(config.places)
    _require_apart(config)
    root = getattr(config, "root", None)
    # Other paths on the hub are downloaded when they are opened.
    if isinstance(root, Path):
        source = config.model_copy(update={"root": fetch_dataset(root)})
    else:
        source = config
    data, classes = source.load()
    if config.known_labels() is None:  # otherwise the source has loaded only the wanted classes
        data, classes = of_classes(data, classes, config.classes)
    data = _with_shifts(data, classes, config)
    data = _with_further_sets(data, classes, config)
    data = with_groups_apart(with_groups(data, config.groups), config.groups_apart or config.together)
    if config.shifted_val is not None:
        data = _hold_out_shift(data, config.shifted_val)
    if data.shifted_val is not None and data.shifted_val.name in data.tests:
        raise UserError(f"data.shifts: the shifted validation set is called {data.shifted_val.name!r}: rename this one")
    unused = config.same_class.keys() - classes.used
    if unused:
        raise UserError(f"data.same_class: no other set has a folder or label {some_of(sorted(unused))}: remove it")
    data = check_groups_apart(data, config.groups_apart)
    return with_styles(data, config.styles)


def with_derived(data: StudyData, config: DataConfig) -> StudyData:
    """Add the test sets that are made from others.

    `load_data` leaves them out, because the search for copies reads the images that they are made from.
    """
    made: dict[str, ImageSet] = {}
    for name, shift in config.shifts.items():
        if isinstance(shift, DerivedSets):
            _add(made, shift.make(name, data.tests, data.clean), data.tests)
    return replace(data, tests={**data.tests, **made}, derived=(*data.derived, *made))


def _with_shifts(data: StudyData, classes: FolderClasses, config: DataSource) -> StudyData:
    """Add the shifted test sets that have files of their own."""
    tests = dict(data.tests)
    derived: list[str] = []
    for name, shift in config.shifts.items():
        if isinstance(shift, DerivedSets):
            continue
        reader = as_reader(shift)
        sets = reader.open(name, classes, config.same_class)
        _add(tests, sets, OWN_SETS)
        if reader.derived:
            derived += sets
    return replace(data, tests=tests, derived=tuple(derived))


def _add(tests: dict[str, ImageSet], more: Mapping[str, ImageSet], taken: Collection[str]) -> None:
    """Add `more` test sets to `tests`. Raise UserError if a name is in use."""
    for name, images in more.items():
        if name in taken or name in tests:
            raise UserError(f"data.shifts: another set is called {name!r}: rename this one")
        tests[name] = images


def _with_further_sets(data: StudyData, classes: FolderClasses, config: DataSource) -> StudyData:
    """Add the sets that arms may mix: extra, unlabeled, generated and retrieved images, and the pool to search."""
    extra: dict[str, ImageSet] = {}
    for name, images in config.extra.items():
        key = f"data.extra.{name}"
        extra[name] = as_reader(images, key).open_one(name, key, classes, config.same_class)
    unlabeled: dict[str, ImageSet] = {}
    for name, images in config.unlabeled.items():
        key = f"data.unlabeled.{name}"
        unlabeled[name] = as_reader(images, key).list_unlabeled(key)
        unlabeled[name].name = name
    data = replace(data, extra=extra, unlabeled=unlabeled)
    if config.generated is not None:
        key = "data.generated"
        reader = as_reader(config.generated, key)
        data = replace(data, generated=reader.open_one("generated", key, classes, config.same_class, by_name=True))
    if config.retrieved.path is not None:
        key = "data.retrieved.path"
        reader = as_reader(config.retrieved.path, key)
        data = replace(data, retrieval=reader.open_one("retrieved", key, classes, config.same_class))
        data = _with_real_as_style(data, config)
    if config.retrieved.search is not None:
        key = "data.retrieved.search"
        data = replace(data, search_pool=as_reader(config.retrieved.search, key).list_unlabeled(key))
    return data


def _with_real_as_style(data: StudyData, config: DataSource) -> StudyData:
    """Give training images without styles the style "real" if the images to retrieve have styles."""
    assert data.retrieval is not None
    if config.styles is not None or any(data.train.styles) or not any(data.retrieval.styles):
        return data
    return replace(data, train=with_attributes(data.train, styles=[REAL] * len(data.train)))


def _hold_out_shift(data: StudyData, name: str) -> StudyData:
    """Hold out whole groups of the shifted test set `name` as the shifted validation set."""
    known = [shift for shift in data.shifts if shift not in data.derived]
    if name not in known:
        raise UserError(f"data.shifted_val: no shifted test set {name!r} to divide; there are {', '.join(known)}")
    if data.shifted_val is not None:
        raise UserError(f"data.shifted_val: this source has its own, {data.shifted_val.name}: leave the key out")
    images = data.tests[name]
    try:
        rest, val = hold_back(images, SHIFTED_VAL_SHARE, images.groups)
    except UserError:
        why = "it is one group of images, or one image of each class"
        raise UserError(f"data.shifted_val: {name} cannot be divided: {why}: name another") from None
    val.name = f"{name}-val"
    return replace(data, tests={**data.tests, name: rest}, shifted_val=val)


def _require_apart(config: DataConfig) -> None:
    """Raise UserError if a set to test on, or to choose by, has the path of another set or is inside its folder.

    Shifts may share a path that they read in different ways, such as ObjectNet by each of its maps. A reader may read
    a part of its path.
    """
    kinds = {f"data.shifts.{name}": shift.kind for name, shift in config.shifts.items()}
    places = {key: path for key, path in config.places.items() if key != "data.root"}
    paths = {key: path.resolve() for key, path in places.items()}
    for key, test in permutations(paths, 2):
        is_test = test in kinds or test in ("data.val", "data.test")
        both_shifts = key in kinds and test in kinds
        if not is_test or both_shifts:
            continue
        if paths[key] == paths[test]:
            raise UserError(f"{key} and {test} are one path, {places[key]}: give each set images of its own")
        for inner, outer in ((key, test), (test, key)):
            is_inside = paths[inner].is_relative_to(paths[outer])
            if is_inside and kinds.get(outer, "folders") == "folders":
                raise UserError(f"{inner} lies in {outer}, {places[outer]}: give each set images of its own")
