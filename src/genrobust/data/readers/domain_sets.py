"""Published sets of one task in several domains, as they unpack: folders DOMAIN/CLASS; and one's own set like them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, StrictFloat, model_validator

from genrobust.core import ImageSet, StudyData, Subset, UserError, bare_name, reading, some_of
from genrobust.data.classes import FolderClasses, classes_of
from genrobust.data.file_list import ListedImages, list_folder
from genrobust.data.folders import HELD_OUT, hold_back, kept_together
from genrobust.data.reader import DataSource
from genrobust.data.stored import StoredImages, class_folders
from genrobust.recipe import SOURCES, ImageRule, Place

log = logging.getLogger(__name__)

HALF = 0.5
TEST = "test"  # the unshifted test set of leave-one-out
LEVELS, FEW = 3, 3  # where the domains are looked for, and among how many folders
LEAST = 2  # images of a class in a domain: one for each half


class DomainSet(DataSource):
    """Images of the same classes in several domains, in `root`: folders DOMAIN/CLASS.

    A hash of the file names cuts each class of each domain into a test half and a pool half, the same in every study
    of these domains.

    `protocol: one-domain` trains on the pool half of `real`. Its test half is the unshifted test set, those of the
    other domains are the shifts; their pool halves are retrieved from, with the domain as style. `leave-one-out` is
    DomainBed's (Gulrajani and Lopez-Paz, 2021): it tests on all images of `left_out` and trains on the other domains.

    `held_out` is the share for validation: of the pool, where other domains make a shifted validation set; with
    `leave-one-out` of the training images, and as many are the unshifted test set (at 0.1, arms train on 80 %, as in
    DomainBed).

    `class_names` maps a class folder to the name that is shown and used in prompts.
    """

    official: ClassVar[tuple[str, ...]] = ()  # the folders of the domains, that of the training images first
    images: ClassVar[int | None] = None  # of the official set

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
        official = {*map(bare_name, cls.official)}
        return bool(official) and any(official <= _subfolders(place).keys() for place in _places(folder))

    def load(self) -> tuple[StudyData, FolderClasses]:
        """Load the study. A set with another number of images than the official one is a warning.

        Raises:
            UserError: A domain is missing or unknown, there is only one, or a domain lacks a class.
        """
        folder, domains = self._find_domains()
        classes, images = self._open(folder, domains)
        if self.protocol == "leave-one-out":
            return self._leave_one_out(classes, list(domains), images), classes
        return self._one_domain(classes, list(domains), *self._hold_back(images, HALF)), classes

    def _hold_back(self, images: ImageSet, share: float) -> tuple[ImageSet, Subset]:
        return hold_back(images, share, kept_together(images, self.groups_apart or self.together))

    def _find_domains(self) -> tuple[Path, dict[str, str]]:
        """Return the folder that holds the domains, and the subfolder of each."""
        names = self.official or tuple(_folder_names(self.root))
        taken = self.domains or names
        for key, given, known in (
            ("domains", self.domains, names), ("real", [self.real], taken), ("left_out", [self.left_out], taken)
        ):  # fmt: skip
            if unknown := [name for name in given if name is not None and name not in known]:
                raise UserError(f"data.{key}: no domain {unknown[0]!r}; there are {', '.join(known)}")
        chosen = [name for name in names if name in taken]
        if len(chosen) < 2:
            only = ", ".join(chosen) or "none"
            raise UserError(f"data: of the domains in {self.root}, two are needed, one to test on, and there is {only}")
        if not self.official:
            return self.root, dict(zip(chosen, chosen, strict=True))
        wanted = {bare_name(name): name for name in chosen}  # however a mirror spells them
        folder = max(_places(self.root), key=lambda place: len(wanted.keys() & _subfolders(place).keys()))
        there = _subfolders(folder)
        if missing := [name for bare, name in wanted.items() if bare not in there]:
            holds = some_of(there.values()) or "no folder"
            raise UserError(
                f"data.root: {folder} lacks the domain {missing[0]} and holds {holds}: "
                "name the folder of the domains, unpack the set again, or take those that are there with data.domains"
            )
        return folder, {name: name if (folder / name).is_dir() else there[bare] for bare, name in wanted.items()}

    def _open(self, folder: Path, domains: Mapping[str, str]) -> tuple[FolderClasses, ListedImages]:
        """Open the images of all domains, in the order of a hash of their names."""
        found = {name: {sub.name for sub in class_folders(folder / domains[name])} for name in domains}
        names = sorted(set.union(*found.values()))
        classes = classes_of(StoredImages(folder, tuple(names)), self.class_names)
        groups = {f"{domains[domain]}/{name}": (domain, name) for domain in domains for name in sorted(found[domain])}
        listing = list_folder(folder, groups)
        counts = Counter(groups[group] for group in listing.groups)
        for domain in domains:
            if scarce := [name for name in names if counts[domain, name] < LEAST]:
                others = f" and too few of {len(scarce) - 1} other classes" if scarce[1:] else ""
                raise UserError(
                    f"data.root: {folder / domains[domain]} has {counts[domain, scarce[0]]} images of {scarce[0]}"
                    f"{others}, and a domain needs {LEAST} of each: unpack it again, or leave it out of data.domains"
                )
        labels = {group: (names.index(name),) for group, (_, name) in groups.items()}
        styles = {group: domain for group, (domain, _) in groups.items()}
        images = ListedImages("images", listing, labels, styles=styles)
        if self.images not in (None, len(images)) and not self.domains:
            log.warning(
                "%s holds %d images, and the official %s %d: published accuracies are of that",
                folder, len(images), self.source, self.images,
            )  # fmt: skip
        return classes, images

    def _one_domain(self, classes: FolderClasses, domains: list[str], pool: ImageSet, test: ImageSet) -> StudyData:
        real = self.real or (domains[0] if self.official else None)
        if real is None:
            raise UserError(f"data.real: name the domain to train on, one of {', '.join(domains)}")
        pool, val = self._hold_back(pool, self.held_out)
        shifts = [domain for domain in domains if domain != real]
        return StudyData(
            labels=classes.labels,
            train=_of(pool, "train", real),
            val=_of(val, "val", real),
            tests={domain: _of(test, domain, domain) for domain in (real, *shifts)},
            clean=real,
            retrieval=_of(pool, "pool", *shifts),
            shifted_val=_of(val, "shifted-val", *shifts),
        )

    def _leave_one_out(self, classes: FolderClasses, domains: list[str], images: ImageSet) -> StudyData:
        others = [domain for domain in domains if domain != self.left_out]
        train, test = self._hold_back(_of(images, "train", *others), self.held_out)
        train, val = self._hold_back(train, self.held_out / (1 - self.held_out))
        shifted = _of(images, str(self.left_out), str(self.left_out))
        tests: dict[str, ImageSet] = {TEST: Subset(test, np.arange(len(test)), TEST), shifted.name: shifted}
        return StudyData(classes.labels, train, val, tests, TEST)


def domains_in(folder: Path) -> list[str]:
    """Return the subfolders of `folder` where all of them, two or more, share two subfolders or more; else none."""
    if not folder.is_dir():
        return []
    names = _folder_names(folder)
    shared: set[str] | None = None
    for name in names:  # to the first that has none: a class may have many files
        inside = {*_subfolders(folder / name)}
        shared = inside if shared is None else shared & inside
        if len(shared) < 2:
            return []
    return names if len(names) > 1 else []


def _subfolders(folder: Path) -> dict[str, str]:
    """The names of the folders in `folder`, by what two spellings of one have in common."""
    return {bare_name(name): name for name in _folder_names(folder)}


def _folder_names(folder: Path) -> list[str]:
    """The names of the folders in `folder` that are not hidden, sorted."""
    with reading(f"the folder {folder}"):
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] not in "._")


def _places(root: Path) -> Iterator[Path]:
    """`root`, and the folders up to two levels below it, as archives unpack: those that lie among few others."""
    level = [root]
    for _ in range(LEVELS):
        yield from level
        folders = [[folder / name for name in _folder_names(folder)] for folder in level]
        level = [sub for subs in folders if len(subs) <= FEW for sub in subs]


def _of(images: ImageSet, name: str, *domains: str) -> Subset:
    return Subset(images, [i for i, style in enumerate(images.styles) if style in domains], name)


@SOURCES.register("domains")
class Domains(DomainSet):
    """A set of your own: each folder in `root` is a domain, such as a style, a site or a camera.

    `real` names the domain to train on.
    """


@SOURCES.register("pacs")
class Pacs(DomainSet):
    """PACS (Li et al., 2017): photographs, paintings, cartoons and sketches of 7 classes.

    Most sketches are Sketchy's (Sangkloy et al., 2016), in which several people drew one photograph: the halves keep
    its drawings together, and it with them where it is among the photographs. Between the left-out domain and the
    others `leave-one-out`, as DomainBed, does not.
    """

    official = ("photo", "art_painting", "cartoon", "sketch")
    images = 9_991
    together = ImageRule(pattern=r"/(n\d+_\d+)[-.]")  # n02106662_15858.jpg, and its drawing n02106662_15858-6.png


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
