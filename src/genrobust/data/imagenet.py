"""ImageNet-1k as users have it on disk, and its shifted test sets, read into one study."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

import numpy as np

from genrobust.core import StudyData, UserError
from genrobust.data import objectnet
from genrobust.data.file_list import ListedImages
from genrobust.data.folders import NAMED, FolderClasses, hold_back, read_classes
from genrobust.data.ground_truth import is_flat, list_flat
from genrobust.data.imagenet_classes import by_number, descriptions, listed_by_timm, wnids
from genrobust.data.places import Place, open_place
from genrobust.recipe import DataConfig, ShiftConfig

log = logging.getLogger(__name__)

# Where train and the validation images lie below `root`: as image-net.org's archives unpack, on Kaggle, and in a clone
# of Hugging Face's repository.
LAYOUTS = (
    ("train", "val"),
    ("ILSVRC2012_img_train", "ILSVRC2012_img_val"),
    ("ILSVRC/Data/CLS-LOC/train", "ILSVRC/Data/CLS-LOC/val"),
    ("data/train-*.parquet", "data/val*.parquet"),
)
TRAIN_IMAGES = 1_281_167
# Images that a kind of set holds: of each class, and in all. V2 is any of its three versions (Recht et al., 2019);
# Sketch: Wang et al., 2019; R and A: Hendrycks et al., 2021; C: Hendrycks and Dietterich, 2019.
PER_CLASS = {"validation": 50, "imagenet-v2": 10, "imagenet-c": 50}
IN_ALL = {"train": TRAIN_IMAGES, "imagenet-sketch": 50_889, "imagenet-r": 30_000, "imagenet-a": 7_500}


def load(config: DataConfig) -> StudyData:
    """ImageNet's images of the classes that `config` studies; its validation images are the clean set, "test".

    Without `val`, a tenth of each class of train is held back to choose checkpoints. Raises UserError that names the
    place and what to do: a class without images, validation images without a ground truth, folders or labels that mean
    no class, ObjectNet without its mappings. A set with other numbers of images than the official one is a warning.
    """
    classes = read_classes(config)
    train_path, test_path = _train_and_test(config)
    if "test" in config.shifts:
        raise UserError("data.shifts: the name test belongs to the unshifted test set; give this shift another name")

    def open_kind(name: str, path: Path, kind: str) -> ListedImages:
        return open_set(name, path, kind, classes, config.same_class)

    train = open_kind("train", train_path, "train")
    tests = {"test": open_kind("test", test_path, "validation")}
    for name, shift in config.shifts.items():
        for full_name, path in _sets_of(name, shift):
            if full_name in tests:
                raise UserError(f"data.shifts: two test sets are called {full_name!r}: rename one")
            if shift.kind == "objectnet":
                tests[full_name] = objectnet.open_set(full_name, path, classes.labels, shift.map or "one-to-many")
            else:
                tests[full_name] = open_kind(full_name, path, shift.kind)
    held = hold_back(train) if config.val is None else (train, open_kind("val", config.val, "folders"))
    retrieved = None if config.retrieved is None else open_kind("retrieved", config.retrieved, "folders")
    extra = {name: open_kind(name, path, "folders") for name, path in config.extra.items()}
    return StudyData(classes.labels, held[0], held[1], dict(tests), "test", retrieved, extra=dict(extra))


def open_set(
    name: str, path: Path, kind: str, classes: FolderClasses, same_class: Mapping[str, str] | None = None
) -> ListedImages:
    """The images at `path` that have one of `classes`, checked against what a set of this `kind` holds.

    Classes may be named by WordNet id, by number (0 to 999; of R and A in tars or tables also 0 to 199) or by their
    names; `same_class` maps others to WordNet ids. `kind` is "folders", "train", "validation" or an imagenet- one.
    """
    official = _official(kind)
    same_class = dict(same_class or {})
    if kind == "validation" and is_flat(path):
        listing = list_flat(path)
        place = Place(path, tuple(dict.fromkeys(listing.groups)), found=listing)
    else:
        place = open_place(path)
    labels = classes.labels_of(path, _wnids_of(place, official) | same_class, place.groups)
    known = {group: (label,) for group, label in labels.items() if label is not None}
    if kind != "folders":  # told before a million files are listed
        _refuse_missing(path, kind, classes, official, {label for (label,) in known.values()})
    images = ListedImages(name, place.listing(known), known)
    if kind != "folders":
        _refuse_missing(path, kind, classes, official, set(images.labels.tolist()))
        _check_numbers(images, path, kind, classes, official)
    return images


# --------------------------------------------------------------------------------------------- where


def _train_and_test(config: DataConfig) -> tuple[Path, Path]:
    if config.root is None:
        assert config.train is not None and config.test is not None  # the recipe has seen to it
        return config.train, config.test
    if not config.root.is_dir():
        raise UserError(f"data.root: there is no folder {config.root}")
    for train, test in LAYOUTS:
        if all(any(config.root.glob(part)) for part in (train, test)):
            return config.train or config.root / train, config.test or config.root / test
    if config.train is not None and config.test is not None:
        return config.train, config.test
    tried = ", ".join(f"{train} and {test}" for train, test in LAYOUTS)
    raise UserError(f"data.root: {config.root} has none of {tried}: give data.train and data.test instead")


def _sets_of(name: str, shift: ShiftConfig) -> Iterator[tuple[str, Path]]:
    """Name and place of each test set that a shift stands for: one, or those of ImageNet-C.

    These lie in ``{corruption}/{severity}``; a set's name repeats neither where the recipe chooses it.
    """
    if shift.kind != "imagenet-c":
        yield name, shift.path
        return
    pattern = f"{shift.corruption or '*'}/{shift.severity or '[1-5]'}"
    found = sorted(path for path in shift.path.glob(pattern) if path.is_dir())
    if not found:
        raise UserError(f"data.shifts.{name}: {shift.path} has no folder {pattern} (such as gaussian_noise/3)")
    for path in found:
        parts = [] if shift.corruption else [path.parent.name]
        parts += [] if shift.severity else [path.name]
        yield "-".join([name, *parts]), path


# --------------------------------------------------------------------------------------------- classes


def _official(kind: str) -> tuple[str, ...]:
    """The WordNet ids that a set of this kind is over, sorted."""
    return listed_by_timm(kind.replace("-", "_")) if kind in ("imagenet-r", "imagenet-a") else wnids()


def _wnids_of(place: Place, official: tuple[str, ...]) -> dict[str, str]:
    """The WordNet id of each group of `place` that is one, is a number, or is a name of ImageNet's own."""
    if len(place.label_names) == len(wnids()) and not set(place.label_names) & set(wnids()):
        _refuse_another_order(place)
        return dict(zip(place.label_names, wnids(), strict=True))
    numbers = [int(group) for group in place.groups if group.isdecimal()]
    # a set over 200 classes that numbers them itself has no label beyond 199; ImageNet's own numbers go beyond
    ids = official if numbers and max(numbers) < len(official) else wnids()
    named: dict[str, str] = {}
    for wnid, text in zip(wnids(), descriptions(), strict=True):
        named[text] = "" if text in named else wnid  # two are "crane"
    known = set(wnids())
    found = {g: g if g in known else by_number(g, ids) or named.get(g, "") for g in place.groups}
    return {group: wnid for group, wnid in found.items() if wnid}


def _refuse_another_order(place: Place) -> None:
    """Labels with 1,000 names of their own are taken in order, once the names have been seen to be in that order."""
    first = [text.split(",")[0].casefold() for text in descriptions()]
    alike = sum(name.split(",")[0].casefold() == f for name, f in zip(place.label_names, first, strict=True))
    if alike < 0.9 * len(first):  # names differ here and there, such as crane and crane2
        raise UserError(
            f"{place.path}: only {alike} of its 1,000 label names are ImageNet's at that label, such as "
            f"{place.label_names[0]!r} for {descriptions()[0]!r}: name the labels by WordNet id and save the set again"
        )


# --------------------------------------------------------------------------------------------- checks


def _refuse_missing(path: Path, kind: str, classes: FolderClasses, official: tuple[str, ...], found: Set[int]) -> None:
    """Raise UserError where a class of the study that the set should hold is not among the labels `found`."""
    expected = [label for label, wnid in enumerate(classes.labels.ids) if wnid in official]
    missing = [classes.labels.ids[label] for label in expected if label not in found]
    if not expected:
        raise UserError(f"{path}: {kind} shares no class with the {len(classes.labels)} of data.classes: leave it out")
    if missing:
        some = ", ".join(f"{wnid} (label {wnids().index(wnid)})" for wnid in missing[:NAMED])
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise UserError(
            f"{path}: no image of {len(missing)} of the {len(expected)} classes that {kind} should hold here: {some}"
            f"{more}. Unpack the set again, or leave these classes out with data.classes"
        )


def _check_numbers(
    images: ListedImages, path: Path, kind: str, classes: FolderClasses, official: tuple[str, ...]
) -> None:
    """Warn where the set has more or fewer images than the official one."""
    counts = np.bincount(images.labels, minlength=len(classes.labels)).tolist()
    each, total = PER_CLASS.get(kind), IN_ALL.get(kind)
    said = ""
    if each is not None:
        odd = [f"{n} of {wnid}" for wnid, n in zip(classes.labels.ids, counts, strict=True) if n != each]
        if odd:
            said = f"{len(odd)} classes have other than {each} images ({', '.join(odd[:3])}{', ...' * (len(odd) > 3)})"
    elif total is not None and set(official) <= set(classes.labels.ids) and len(images) != total:
        said = f"{len(images):,} images instead of {total:,}"
    if said:
        log.warning("%s is not the official %s: %s; published accuracies are of that", path, kind, said)
