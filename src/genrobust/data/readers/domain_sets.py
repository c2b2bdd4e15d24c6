"""Sets of one task in several domains, in folders DOMAIN/CLASS: published ones as they unpack, and one's own."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, StrictFloat, model_validator

from genrobust.core import ImageSet, StudyData, Subset, UserError, bare_name, count, reading, some_of
from genrobust.data.classes import FolderClasses, classes_of
from genrobust.data.data_source import DataSource
from genrobust.data.held_out import HELD_OUT, hold_back, kept_together
from genrobust.data.listing import ListedImages, list_folder
from genrobust.data.stored_images import StoredImages, class_folders
from genrobust.recipe import SOURCES, ImageRule, Place

log = logging.getLogger(__name__)

HALF = 0.5
TEST = "test"  # name of the unshifted test set of leave-one-out
# An archive may unpack its domains a few folders deep: how deep to look, and in how many folders at each level.
LEVELS = 3
FEW_FOLDERS = 3
LEAST = 2  # images of a class in a domain: one for each half


class DomainSet(DataSource):
    """Images of the same classes in several domains, in `root`: folders DOMAIN/CLASS.

    A hash of the file names cuts each class of each domain into a test half and a pool half, the same in every study
    of these domains.

    `protocol: one-domain` trains on the pool half of `real`. Its test half is the unshifted test set, and the test
    halves of the other domains are the shifts. Images are retrieved from their pool halves, with the domain as style.
    `leave-one-out` is DomainBed's protocol (Gulrajani and Lopez-Paz, 2021): it tests on all images of `left_out` and
    trains on the other domains.

    `held_out` is the share for validation. With `one-domain` it is taken from the pool, where the other domains make a
    shifted validation set. With `leave-one-out` it is taken from the training images, and as many images are the
    unshifted test set (at 0.1, arms train on 80 %, as in DomainBed).

    `class_names` maps a class folder to the name that is shown and used in prompts.
    """

    official: ClassVar[tuple[str, ...]] = ()  # folders of the domains, that of the training images first
    images: ClassVar[int | None] = None  # number of images of the official set

    root: Place  # the folder of the domains, or one above it
    protocol: Literal["one-domain", "leave-one-out"] = "one-domain"
    real: str | None = None  # the first domain if `null`, such as photo
    left_out: str | None = None
    domains: tuple[str, ...] = ()  # all if empty
    held_out: Annotated[StrictFloat, Field(gt=0, le=0.4)] = HELD_OUT
    class_names: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_protocol(self) -> DomainSet:
        if self.protocol == "one-domain" and self.left_out is not None:
            raise ValueError("left_out: it belongs to protocol: leave-one-out; one-domain tests on all other domains")
        if self.protocol == "leave-one-out" and self.real is not None:
            raise ValueError("real: it belongs to protocol: one-domain; leave-one-out trains on all other domains")
        if self.protocol == "leave-one-out" and self.left_out is None:
            raise ValueError("left_out: protocol: leave-one-out needs it: name the domain to test on")
        if self.left_out == TEST:
            raise ValueError(f"left_out: {TEST} is what the test set of the other domains is called: rename the folder")
        return self

    @classmethod
    def recognizes(cls, folder: Path) -> bool:
        official = {bare_name(name) for name in cls.official}
        if not official:
            return False
        return any(official <= _subfolders(place).keys() for place in _places(folder))

    def load(self) -> tuple[StudyData, FolderClasses]:
        """Load the study. Warn if the official set has another number of images."""
        folder, domains = self._find_domains()
        classes, images = self._open(folder, domains)
        if self.protocol == "leave-one-out":
            return self._leave_one_out(classes, list(domains), images), classes
        pool, test = self._hold_back(images, HALF)
        return self._one_domain(classes, list(domains), pool, test), classes

    def _hold_back(self, images: ImageSet, share: float) -> tuple[ImageSet, Subset]:
        return hold_back(images, share, kept_together(images, self.groups_apart or self.together))

    def _find_domains(self) -> tuple[Path, dict[str, str]]:
        """Return the folder that holds the domains, and the subfolder of each."""
        names = self.official or tuple(_folder_names(self.root))
        self._check_names(names)
        chosen = [name for name in names if name in (self.domains or names)]
        if len(chosen) < 2:
            only = ", ".join(chosen) or "none"
            raise UserError(f"data: of the domains in {self.root}, two are needed, one to test on, and there is {only}")
        if not self.official:
            return self.root, {name: name for name in chosen}
        # Mirrors spell the names in several ways.
        wanted = {bare_name(name): name for name in chosen}
        folder = max(_places(self.root), key=lambda place: len(wanted.keys() & _subfolders(place).keys()))
        there = _subfolders(folder)
        for bare, name in wanted.items():
            if bare not in there:
                known = some_of(there.values()) or "no folder"
                problem = f"{folder} lacks the domain {name} and holds {known}"
                raise UserError(f"data.root: {problem}: name the folder of the domains, or list some in data.domains")
        return folder, {name: name if (folder / name).is_dir() else there[bare] for bare, name in wanted.items()}

    def _check_names(self, names: tuple[str, ...]) -> None:
        """Raise UserError for a key that names no domain."""
        taken = self.domains or names
        for key, given, known in (
            ("domains", self.domains, names),
            ("real", (self.real,), taken),
            ("left_out", (self.left_out,), taken),
        ):
            for name in given:
                if name is not None and name not in known:
                    raise UserError(f"data.{key}: no domain {name!r}; there are {', '.join(known)}")

    def _open(self, folder: Path, domains: Mapping[str, str]) -> tuple[FolderClasses, ListedImages]:
        """Open the images of all domains, in the order of a hash of their names."""
        found = {name: {sub.name for sub in class_folders(folder / domains[name])} for name in domains}
        names = sorted(set.union(*found.values()))
        classes = classes_of(StoredImages(folder, tuple(names)), self.class_names)
        cells: dict[str, tuple[str, str]] = {}  # domain and class of each group, which is a folder DOMAIN/CLASS
        for domain, subfolder in domains.items():
            for name in sorted(found[domain]):
                cells[f"{subfolder}/{name}"] = (domain, name)
        listing = list_folder(folder, cells)
        counts = Counter(cells[group] for group in listing.groups)
        needed = names
        if isinstance(self.classes, tuple):
            # Classes that the study leaves out may lack images.
            wanted = {classes.match(name) for name in self.classes}
            needed = [name for label, name in enumerate(names) if label in wanted]
        _require_enough(folder, domains, needed, counts)
        # `classes_of` keeps the order of `names`.
        label_of = {name: label for label, name in enumerate(names)}
        labels = {group: (label_of[name],) for group, (_, name) in cells.items()}
        styles = {group: domain for group, (domain, _) in cells.items()}
        images = ListedImages("images", listing, labels, styles=styles)
        if self.images is not None and self.images != len(images) and not self.domains:
            log.warning(
                "%s holds %d images, and the official %s %d: published accuracies are of that",
                folder,
                len(images),
                self.source,
                self.images,
            )
        return classes, images

    def _one_domain(self, classes: FolderClasses, domains: list[str], pool: ImageSet, test: ImageSet) -> StudyData:
        real = self.real or (domains[0] if self.official else None)
        if real is None:
            raise UserError(f"data.real: name the domain to train on, one of {', '.join(domains)}")
        pool, val = self._hold_back(pool, self.held_out)
        shifts = [domain for domain in domains if domain != real]
        return StudyData(
            labels=classes.labels,
            train=_of_domains(pool, "train", real),
            val=_of_domains(val, "val", real),
            tests={domain: _of_domains(test, domain, domain) for domain in (real, *shifts)},
            clean=real,
            retrieval=_of_domains(pool, "pool", *shifts),
            shifted_val=_of_domains(val, "shifted-val", *shifts),
        )

    def _leave_one_out(self, classes: FolderClasses, domains: list[str], images: ImageSet) -> StudyData:
        left_out = str(self.left_out)
        others = [domain for domain in domains if domain != left_out]
        train, test = self._hold_back(_of_domains(images, "train", *others), self.held_out)
        # As many images as the test set has, of the rest.
        train, val = self._hold_back(train, self.held_out / (1 - self.held_out))
        tests: dict[str, ImageSet] = {
            TEST: Subset(test, np.arange(len(test)), TEST),
            left_out: _of_domains(images, left_out, left_out),
        }
        return StudyData(classes.labels, train, val, tests, TEST)


def _require_enough(
    folder: Path, domains: Mapping[str, str], classes: Sequence[str], counts: Mapping[tuple[str, str], int]
) -> None:
    """Raise UserError if a domain has fewer than `LEAST` images of one of `classes`."""
    for domain, subfolder in domains.items():
        scarce = [name for name in classes if counts[domain, name] < LEAST]
        if not scarce:
            continue
        others = ""
        if len(scarce) > 1:
            others = f" and too few of {count(len(scarce) - 1, 'other class')}"
        problem = f"{folder / subfolder} has {count(counts[domain, scarce[0]], 'image')} of {scarce[0]}{others}"
        then = "unpack it again, or leave it out of data.domains"
        raise UserError(f"data.root: {problem}, and a domain needs {LEAST} of each: {then}")


def domains_in(folder: Path) -> list[str]:
    """Return the subfolders of `folder` if there are two or more and all share two subfolders or more, else none."""
    if not folder.is_dir():
        return []
    names = _folder_names(folder)
    shared: set[str] | None = None
    # Stop at the first that shares none: a class may hold many files.
    for name in names:
        subfolders = set(_subfolders(folder / name))
        shared = subfolders if shared is None else shared & subfolders
        if len(shared) < 2:
            return []
    return names if len(names) > 1 else []


def _subfolders(folder: Path) -> dict[str, str]:
    """Return the names of the folders in `folder` by their bare names."""
    return {bare_name(name): name for name in _folder_names(folder)}


def _folder_names(folder: Path) -> list[str]:
    """Return the names of the folders in `folder` that are not hidden, sorted."""
    with reading(f"the folder {folder}"):
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] not in "._")


def _places(root: Path) -> Iterator[Path]:
    """Yield `root` and the folders up to two levels below it, where a level has few folders."""
    level = [root]
    for _ in range(LEVELS):
        yield from level
        below: list[Path] = []
        for folder in level:
            names = _folder_names(folder)
            if len(names) <= FEW_FOLDERS:
                below += [folder / name for name in names]
        level = below


def _of_domains(images: ImageSet, name: str, *domains: str) -> Subset:
    return Subset(images, [i for i, style in enumerate(images.styles) if style in domains], name)


@SOURCES.register("domains")
class Domains(DomainSet):
    """A set of your own: each folder in `root` is a domain, such as a style, a site or a camera.

    `real` names the domain to train on.
    """


@SOURCES.register("pacs")
class Pacs(DomainSet):
    """PACS (Li et al., 2017): photographs, paintings, cartoons and sketches of 7 classes.

    Most sketches are from Sketchy (Sangkloy et al., 2016), in which several people drew one photograph. The halves keep
    these drawings together, and their photograph with them if it is in PACS. `leave-one-out` does not keep them apart
    between the left-out domain and the others, as in DomainBed.
    """

    official = ("photo", "art_painting", "cartoon", "sketch")
    images = 9_991
    # n02106662_15858.jpg, and its drawing n02106662_15858-6.png.
    together = ImageRule(pattern=r"/(n\d+_\d+)[-.]")


@SOURCES.register("office-home")
class OfficeHome(DomainSet):
    """Office-Home (Venkateswara et al., 2017): 65 classes of things, from photographs to clip art."""

    official = ("Real World", "Art", "Clipart", "Product")
    images = 15_588


@SOURCES.register("vlcs")
class Vlcs(DomainSet):
    """VLCS (Fang et al., 2013) as DomainBed has it: photographs of 5 classes from four data sets."""

    official = ("VOC2007", "Caltech101", "LabelMe", "SUN09")
    images = 10_729


@SOURCES.register("terra-incognita")
class TerraIncognita(DomainSet):
    """Terra Incognita (Beery et al., 2018) as DomainBed has it: 10 classes at four camera traps."""

    official = ("location_38", "location_43", "location_46", "location_100")


@SOURCES.register("domainnet")
class DomainNet(DomainSet):
    """DomainNet (Peng et al., 2019), cleaned: 345 classes in six domains."""

    official = ("real", "clipart", "infograph", "painting", "quickdraw", "sketch")
    images = 586_575
